"""Storage of image files: the contracts (`base`), their fallbacks (`transfer`) and the transports."""
