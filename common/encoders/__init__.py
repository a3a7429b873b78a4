"""Pretrained encoders opened layer by layer; the only folder that touches the internals of transformers.

`layered` holds the opened encoder, `shapes` the named architectures, `sources` where pretrained weights come from.
"""
