"""The shared data, training, timing and reporting layer. It knows no paper."""
