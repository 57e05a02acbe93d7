"""``python -m logan_campaign``."""

from logan_campaign.cli import main

main()
