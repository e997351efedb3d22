"""What is proven before anything is fitted."""
