"""Moving runs between machines: folders, SFTP, SSH with rsync, and object stores."""
