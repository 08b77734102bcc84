"""An autoencoder of sounds whose latent sequence consists of codes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.stack import as_layer
from saiki.models.sequence_code_prior import SequenceCodePrior
from saiki.models.vqvae import Latent, with_cost
from saiki.nn.pooling import real_steps
from saiki.nn.quantise.quantised import Quantised
from saiki.nn.spectrum import LogSpectrum
from saiki.saving.pretrained import DescribedModule


class AutoencodedSound(NamedTuple):
    """Spectra after encoder and decoder."""

    spectra: Tensor
    """``(batch, frames, bins)``; what lies beyond the frames of a row means nothing."""
    codes: Tensor
    """``(batch, steps, books)``, 0 beyond the steps of a row."""
    steps: Tensor
    """Of each row, ``(batch,)``."""
    latent: Quantised
    """Of the real steps alone, one row after the other."""
    errors: Tensor
    """The mean square of the difference in each row, ``(batch,)``."""
    error: Tensor
    """That of all values together, a scalar."""
    loss: Tensor
    """What training lowers: the error, and what the latent vectors cost."""


class SoundVQVAE(DescribedModule, name="sound_vqvae.v1"):
    """Sounds of any length as sequences of codes (van den Oord, Vinyals & Kavukcuoglu 2017, §4.3,
    here with recurrent networks over spectra), with a prior over them, from which new sounds are
    drawn.

    z = the log spectrum of x,  hᵗ = encoder(zᵗ of several frames),  qᵗ = quantiser(W hᵗ + b)
    ẑᵗ = V decoder(q)ᵗ + c,  E = |z − ẑ|² + E of the quantiser,  x̂ = a wave with the spectrum ẑ

    Padding is read by no layer, and no code of it is counted or learned from. The prior learns from
    the codes, and no gradient of it reaches them.

    Args:
        spectrum: from waves to log spectra and back.
        quantiser: such as :class:`saiki.nn.VectorQuantizer`.
        encoder: a cell or layer that reads ``frames_per_code`` frames of a spectrum as one step.
        decoder: a cell or layer that reads ``quantiser.size`` features.
        frames_per_code: frames of a step, which becomes a code, or one of each book.
        prior: over the codes.
        classes: names of the classes.

    Raises:
        InputError: the layers take other numbers of features.
    """

    def __init__(
        self,
        spectrum: LogSpectrum,
        quantiser: Latent,
        encoder: nn.Module,
        decoder: nn.Module,
        frames_per_code: int = 4,
        prior: SequenceCodePrior | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.frames_per_code, self.classes = frames_per_code, tuple(classes)
        self.spectrum = spectrum
        self.encoder, self.decoder = as_layer(encoder), as_layer(decoder)
        values = frames_per_code * spectrum.bins
        for name, layer, size in (
            ("encoder", self.encoder, values),
            ("decoder", self.decoder, quantiser.size),
        ):
            if layer.input_size != size:
                raise InputError(f"the {name} must read {size} features, got {layer.input_size}")
        self.to_latent = nn.Linear(self.encoder.output_size, quantiser.input_size)
        self.quantiser = quantiser
        self.readout = nn.Linear(self.decoder.output_size, values)
        self.prior = prior

    def autoencode(self, z: Tensor, frames: Tensor) -> AutoencodedSound:
        """Log spectra ``(batch, frames, bins)``, of which each row has so many ``frames:
        (batch,)``, to codes and back."""
        h, steps = self._read(z, frames)
        real = real_steps(h, steps)
        latent = self.quantiser(h[real])
        packed = latent.vectors
        vectors = packed.new_zeros(*real.shape, packed.shape[1])
        vectors = vectors.masked_scatter(real[..., None], packed)
        codes = latent.codes.new_zeros(*real.shape, latent.codes.shape[1])
        codes = codes.masked_scatter(real[..., None], latent.codes)
        spectra = self.decode(vectors, steps)[:, : z.shape[1]]
        amiss = (spectra - z).square().masked_fill(~real_steps(z, frames)[..., None], 0)
        sums, counts = amiss.sum((1, 2)), frames.to(z.device) * z.shape[2]
        error = sums.sum() / counts.sum()
        values = self.frames_per_code * z.shape[2]
        loss = with_cost(error, self.quantiser, latent.loss, values)
        return AutoencodedSound(spectra, codes, steps, latent, sums / counts, error, loss)

    def decode(self, vectors: Tensor, steps: Tensor) -> Tensor:
        """Log spectra, ``(batch, steps · frames_per_code, bins)``, of latent vectors ``(batch,
        steps, size)``, of which each row has so many ``steps: (batch,)``."""
        y, _ = self.decoder(vectors, lengths=steps)
        frames: Tensor = self.readout(y).unflatten(2, (self.frames_per_code, -1)).flatten(1, 2)
        return frames

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """The log spectra of waves ``(batch, samples)`` as they come back."""
        return self.autoencode(*self.spectrum(waves, lengths)).spectra

    def encode(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The codes of waves, ``(batch, steps, books)``, or their latent vectors where there are no
        codes, 0 beyond the end of a row, and the steps of each row."""
        h, steps = self._read(*self.spectrum(waves, lengths))
        codes = self.quantiser.encode(h)
        return codes.masked_fill(~real_steps(h, steps)[..., None], 0), steps

    def spectra(self, codes: Tensor, steps: Tensor) -> Tensor:
        """The log spectra of what :meth:`encode` gives."""
        return self.decode(self.quantiser.decode(codes), steps)

    @torch.no_grad()
    def waves(self, spectra: Tensor, frames: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """A wave for each of log spectra, in its own length; see :meth:`LogSpectrum.wave`.

        Args:
            frames: of each row.
            lengths: samples of each row; without, as many as there can be.
        """
        samples = [None] * len(frames) if lengths is None else lengths.tolist()
        rows = zip(spectra, frames.tolist(), samples, strict=True)
        return [self.spectrum.wave(row[:count], length) for row, count, length in rows]

    @torch.no_grad()
    def sample(
        self,
        count: int,
        longest: int,
        labels: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> list[Tensor]:
        """New sounds, as waves; see :meth:`SequenceCodePrior.sample`.

        Raises:
            InputError: there is no prior, or it has learned classes and there are no labels.
        """
        if self.prior is None:
            raise InputError("the model has no prior to draw from")
        codes, steps = self.prior.sample(count, longest, labels, temperature, generator)
        return self.waves(self.spectra(codes, steps), steps * self.frames_per_code)

    def _read(self, z: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """What the quantiser is given of each step, and the steps of each row; the frames that
        the last step of a row lacks are as quiet as can be."""
        each = self.frames_per_code
        steps = (frames + (each - 1)) // each
        z = z.masked_fill(~real_steps(z, frames)[..., None], -1)
        z = F.pad(z, (0, 0, 0, each - 1), value=-1)
        count = z.shape[1] // each
        groups = z[:, : count * each].unflatten(1, (count, each)).flatten(2)
        y, _ = self.encoder(groups, lengths=steps)
        return self.to_latent(y), steps

    def equations(self) -> str:
        reads = equations.of_layer(self.encoder, reads=f"z of {self.frames_per_code} frames")
        lines = [self.spectrum.equations(), reads, "z ← W y + b", self.quantiser.equations()]
        writes = equations.of_layer(self.decoder, reads="q")
        lines += [writes, f"ẑ ← V y + c, of {self.frames_per_code} frames"]
        if self.prior is not None:
            lines.append(self.prior.equations())
        return "\n".join(lines)
