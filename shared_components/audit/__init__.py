"""What a factory gives away of a client's images, and how well it draws them; computed where the images are."""
