"""What the same work costs without the product. Nothing here imports the project."""
