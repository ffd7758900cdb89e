"""Where bytes live: the contracts (`base`), their fallbacks (`transfer`), and the transports."""
