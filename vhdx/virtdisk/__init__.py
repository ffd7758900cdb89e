"""virtdisk.dll, which Windows has for virtual disks, as it is: nothing here decides when to use it.

It can be imported anywhere; a call raises UnsupportedFeature where there is no Windows.
"""
