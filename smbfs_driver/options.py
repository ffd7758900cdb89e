"""The options of the driver, for the section of a backend in cinder.conf.

Provisioning, over-subscription and reserve are Cinder's own options: ``nas_volume_prov_type``,
``max_over_subscription_ratio``, ``reserved_percentage``.
"""

from oslo_config import cfg

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "smbfs_shares_config",
        default="/etc/cinder/smbfs_shares",
        help="File with the shares, one a line: //server/share -o username=NAME,credentials=FILE,... A file that "
        "holds passwords must be readable by its owner only.",
    ),
    cfg.StrOpt(
        "smbfs_smb_conf",
        help="Samba configuration file, such as /etc/samba/smb.conf, from whose global section come defaults for the "
        "shares: workgroup, realm, client signing, client smb encrypt, client use kerberos, client min protocol and "
        "client max protocol. What the list of shares says goes first. Unset, no such file is read.",
    ),
    cfg.StrOpt(
        "smbfs_default_volume_format",
        default="vhdx",
        choices=[
            ("vhdx", "Disks of up to 64 TiB, and a log that keeps the file sound when a machine stops."),
            ("vhd", "Disks of up to 2040 GiB, for consumers that know nothing newer."),
        ],
        help="Format of the files of volumes. The extra spec smbfs:volume_format (or volume_format) of a volume type "
        "overrides it.",
    ),
    cfg.DictOpt(
        "smbfs_pool_mappings",
        default={},
        help="Names of pools, as //server/share:name pairs separated by commas. A share that is not named here is a "
        "pool called like the share; no two pools may have one name.",
    ),
    cfg.FloatOpt(
        "smbfs_used_ratio",
        min=0.0,
        max=1.0,
        help="Part of a share that may be used before no new volumes go there: another way to say "
        "reserved_percentage, which must then be left alone.",
    ),
    cfg.FloatOpt(
        "smbfs_oversub_ratio",
        min=1.0,
        help="How many times the capacity of a share thin volumes may promise: another way to say "
        "max_over_subscription_ratio, which must then be left alone.",
    ),
    cfg.BoolOpt(
        "smbfs_expose_credentials",
        default=False,
        help="Hand the account of the share to whoever attaches a volume. Any member of the project can read it then, "
        "and with it read and change every volume on the share.",
    ),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options for oslo-config-generator."""
    return [("backend_defaults", OPTIONS)]
