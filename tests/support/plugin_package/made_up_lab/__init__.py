"""Parts of somebody else's that a campaign can be made of."""
