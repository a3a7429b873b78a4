"""DeFormer (Cao et al., ACL 2020)."""
