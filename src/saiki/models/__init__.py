"""Models, one a file."""

from saiki.models.autoencoder import VAE, Autoencoder
from saiki.models.classifier import Convolution, SequenceClassifier
from saiki.models.code_prior import CodePrior
from saiki.models.decoder import Decoder
from saiki.models.dialogue import Dialoguer
from saiki.models.encoder import Bridge, Encoder
from saiki.models.hred import HRED, VHRED
from saiki.models.linear_forecaster import LinearForecaster
from saiki.models.masked_lm import MaskedLM
from saiki.models.segment_forecaster import SegmentForecaster
from saiki.models.sentence_vae import SentenceVAE
from saiki.models.seq2seq import Seq2Seq
from saiki.models.sequence_code_prior import SequenceCodePrior
from saiki.models.sequence_vae import SequenceVAE
from saiki.models.series import SeriesSeq2Seq
from saiki.models.sound_vqvae import SoundVQVAE
from saiki.models.stepwise_forecaster import StepwiseForecaster
from saiki.models.tagger import Tagger
from saiki.models.translator import Translator
from saiki.models.vqvae import VQVAE
from saiki.models.word_vectors import WordVectors

__all__ = [
    "HRED",
    "VAE",
    "VHRED",
    "VQVAE",
    "Autoencoder",
    "Bridge",
    "CodePrior",
    "Convolution",
    "Decoder",
    "Dialoguer",
    "Encoder",
    "LinearForecaster",
    "MaskedLM",
    "SegmentForecaster",
    "SentenceVAE",
    "Seq2Seq",
    "SequenceClassifier",
    "SequenceCodePrior",
    "SequenceVAE",
    "SeriesSeq2Seq",
    "SoundVQVAE",
    "StepwiseForecaster",
    "Tagger",
    "Translator",
    "WordVectors",
]
