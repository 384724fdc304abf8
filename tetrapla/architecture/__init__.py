"""Hardware-aware architecture search: a family of networks, a target as the oracle of cost."""
