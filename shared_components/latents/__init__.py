"""What can be seen and done in the factory's latent space."""
