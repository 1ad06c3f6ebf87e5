"""Networks: generators and critics over packed sequences."""
