"""Models, one a file."""

from saiki.models.autoencoder import VAE, Autoencoder
from saiki.models.classifier import SequenceClassifier
from saiki.models.code_prior import CodePrior
from saiki.models.sequence_vae import SequenceVAE
from saiki.models.sound_vqvae import SoundVQVAE
from saiki.models.translator import Translator
from saiki.models.vqvae import VQVAE
from saiki.models.word_vectors import WordVectors

__all__ = [
    "VAE",
    "VQVAE",
    "Autoencoder",
    "CodePrior",
    "SequenceClassifier",
    "SequenceVAE",
    "SoundVQVAE",
    "Translator",
    "WordVectors",
]
