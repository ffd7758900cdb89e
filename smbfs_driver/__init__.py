"""Block volumes as VHDX files on SMB shares: the core of a Cinder volume driver, usable without Cinder."""
