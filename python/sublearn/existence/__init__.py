"""What is proven in one trial."""
