"""Options of the driver in a backend section of cinder.conf.

Cinder itself defines those for provisioning, over-subscription and reserve: ``nas_volume_prov_type``,
``max_over_subscription_ratio``, ``reserved_percentage``.
"""

from oslo_config import cfg

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "smbfs_shares_config",
        default="/etc/cinder/smbfs_shares",
        help="File with the list of shares, one per line: //server/share -o username=NAME,credentials=FILE,... A file "
        "that contains passwords must be accessible to its owner only.",
    ),
    cfg.StrOpt(
        "smbfs_smb_conf",
        help="Samba configuration file, such as /etc/samba/smb.conf, whose global section provides defaults for the "
        "shares: workgroup, realm, client signing, client smb encrypt, client use kerberos, client min protocol and "
        "client max protocol. The list of shares takes precedence. If unset, no such file is read.",
    ),
    cfg.StrOpt(
        "smbfs_default_volume_format",
        default="vhdx",
        choices=[
            ("vhdx", "Up to 64 TiB, with a log that keeps the file consistent after a crash."),
            ("vhd", "Up to 2040 GiB, for consumers without VHDX support."),
        ],
        help="Image format of volumes. The extra spec smbfs:volume_format (or volume_format) of a volume type "
        "overrides it.",
    ),
    cfg.DictOpt(
        "smbfs_pool_mappings",
        default={},
        help="Pool names as comma-separated //server/share:name pairs. A share without an entry forms a pool with the "
        "name of the share. Pool names must be unique.",
    ),
    cfg.FloatOpt(
        "smbfs_used_ratio",
        min=0.0,
        max=1.0,
        help="Fraction of a share that may be used before the scheduler places no more volumes on it. Alternative to "
        "reserved_percentage, which must then keep its default.",
    ),
    cfg.FloatOpt(
        "smbfs_oversub_ratio",
        min=1.0,
        help="Ratio of provisioned to total capacity of a share that thin volumes may reach. Alternative to "
        "max_over_subscription_ratio, which must then keep its default.",
    ),
    cfg.BoolOpt(
        "smbfs_expose_credentials",
        default=False,
        help="Include the credentials of the share in the connection information of an attachment. Any member of the "
        "project can then read them, and with them read and modify every volume on the share.",
    ),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options for oslo-config-generator."""
    return [("backend_defaults", OPTIONS)]
