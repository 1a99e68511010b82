"""Networks, losses, data, engines and federation that the FedFoundry bundles share."""

__version__ = "0.1.0"
