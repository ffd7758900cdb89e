"""Virtual hard disks (VHDX), read and written in place on local files and on SMB3 shares."""
