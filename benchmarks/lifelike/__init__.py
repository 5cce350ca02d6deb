"""Trainings of 300 to 3,000 steps that are like what people train, on real data: to fit rules on some, and to judge them on others.

| | data | families |
| --- | --- | --- |
| fit | Fashion-MNIST | convolutions without and with BatchNorm, residual ones, very deep plain nets; label noise over many epochs; autoencoders, variational ones; distillation; contrastive views; fine-tuning on other classes |
| | Brown corpus | GPT-like letters and words, LSTM language models with clipping, taggers, fine-tuning on another kind of text |
| | flights of 2013 | tables with embeddings at several batch sizes |
| judge | SpamAssassin | convolutions over words and bytes, pooling by attention, perceptrons on word counts; a pretrained MiniLM: its head, its last layer, LoRA, metric learning |
| | Bach's chorales | dilated causal convolutions, encoder and decoder with attention, filling in masked notes, neural n-grams |
| | aeon's series | N-BEATS, InceptionTime, patches with attention, diagonal state spaces, prototypes, random kernels |
| | photographs | ViT, ConvNeXt-like, U-Net against noise, super-resolution, diffusion, SimSiam |
| | MovieLens, diamonds, speech | two towers, factorisation machines, attention over columns, self-normalising nets, gates |

The split was drawn up by data and family before any curve was read: no data set and no family stands on both sides.
"""
