"""How structures are generated: the networks of the paper (wgan) and descent."""
