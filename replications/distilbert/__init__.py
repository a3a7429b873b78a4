"""DistilBERT (Sanh et al., 2019): half of the layers, pre-trained by a triple loss against the whole."""
