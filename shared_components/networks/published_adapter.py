"""The published adaptation model around a frozen factory (method §2)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.networks.content_injection import ContentInjection
from shared_components.networks.domain_norm import DomainLabel
from shared_components.networks.feature_classifier import FeatureClassifier
from shared_components.networks.generator import Generator, Noise, SynthesisOutput
from shared_components.networks.residual_encoder import Encoding, ResidualEncoder
from shared_components.networks.weights import with_weights

PATHS = ("both", "intra", "inter")


class PathLogits(NamedTuple):
    """Class logits (B, C, S, S) of the two paths."""

    intra: Tensor
    inter: Tensor


class PublishedAdapter(nn.Module):
    """Encoder, content injection and two feature classifiers around a frozen generator.

    Children: ``generator`` (frozen), ``encoder``, ``injection``, ``source_classifier`` and
    ``target_classifier``.

    Args:
        generator: the factory's generator; frozen here.
        classes: number of classes C, background included.
        widths: channels of the encoder's stages (published: 64, 128, 256, 512).
        blocks: residual blocks per stage (published: 3, 4, 14, 3).
        resolutions: where content is injected, in px; None: the second coarsest resolution.
        ramp_updates: updates until the content has its full weight.
        classifier_width: channels of the classifiers' first layer.
        classifier_hidden: channels of their second layer.
        progressive: see :class:`FeatureClassifier`.
        batch_statistics: see :class:`DomainBatchNorm2d`.
        momentum: see :class:`DomainBatchNorm2d`.
        noise: per-layer noise while decoding; "none" makes decoding deterministic.
        latent_samples: samples behind each domain's latent mean.
    """

    def __init__(
        self,
        generator: Generator,
        classes: int,
        *,
        ramp_updates: int,
        classifier_width: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 1, 1),
        resolutions: Sequence[int] | None = None,
        classifier_hidden: int = 32,
        progressive: bool = True,
        batch_statistics: bool = False,
        momentum: float = 0.1,
        noise: Noise = "none",
        latent_samples: int = 1024,
    ) -> None:
        super().__init__()
        self.generator = generator.requires_grad_(False)
        self.encoder = ResidualEncoder(
            rows=generator.rows,
            latent_means=latent_means(generator, latent_samples),
            widths=widths,
            blocks=blocks,
            batch_statistics=batch_statistics,
            momentum=momentum,
        )
        self.injection = ContentInjection(
            sizes=generator.sizes,
            channels=generator.channels,
            content_sizes=self.encoder.content_sizes(generator.sizes[-1]),
            content_channels=widths,
            resolutions=resolutions,
            ramp_updates=ramp_updates,
        )
        shape = (generator.channels, classes, classifier_width, classifier_hidden, progressive)
        self.source_classifier = FeatureClassifier(*shape)
        self.target_classifier = FeatureClassifier(*shape)
        self.noise = noise
        self.source_is_fixed = False

    def encode(self, image: Tensor, domain: DomainLabel, to_domain: DomainLabel | None = None) -> Encoding:
        """``image`` (B, 1, S, S) of ``domain`` to W+ for ``to_domain`` (None: its own) and content maps."""
        return self.encoder(image, domain, to_domain)

    def synthesise(self, encoding: Encoding) -> SynthesisOutput:
        """Decode with the frozen generator and the injected content; gradients reach ``encoding``."""
        return self.generator.synthesis(encoding.w_plus, self.noise, self.injection(encoding.content))

    def decode(self, image: Tensor, from_domain: DomainLabel, to_domain: DomainLabel) -> SynthesisOutput:
        """``image`` (B, 1, S, S) of ``from_domain`` drawn again in the look of ``to_domain``."""
        return self.synthesise(self.encode(image, from_domain, to_domain))

    def path_logits(self, image: Tensor, source: int, target: int) -> PathLogits:
        """Target slices (B, 1, S, S) segmented after decoding as target (intra) and as source (inter)."""
        content = self.encoder.encode_content(image, target)
        logits = []
        for domain, classifier in ((target, self.target_classifier), (source, self.source_classifier)):
            encoding = Encoding(self.encoder.to_w_plus(content, domain), content)
            logits.append(classifier(self.synthesise(encoding).features))
        return PathLogits(*logits)

    def source_parameters(self) -> Iterator[nn.Parameter]:
        """What source pre-training updates: encoder, injection, source classifier."""
        parts = (self.encoder, self.injection, self.source_classifier)
        return chain.from_iterable(part.parameters() for part in parts)

    def adaptation_parameters(self) -> Iterator[nn.Parameter]:
        """What adaptation updates: encoder, injection, target classifier."""
        parts = (self.encoder, self.injection, self.target_classifier)
        return chain.from_iterable(part.parameters() for part in parts)

    def fix_source(self) -> None:
        """Freeze the source classifier, its running statistics included."""
        self.source_is_fixed = True
        self.source_classifier.requires_grad_(False).eval()

    def start_target_from_source(self, source: int, target: int) -> None:
        """Copy the source's norms, embedding and classifier to the target, before adaptation begins."""
        self.encoder.copy_domain(source, target)
        self.target_classifier.load_state_dict(self.source_classifier.state_dict())

    def train(self, mode: bool = True) -> PublishedAdapter:
        """Training mode, except for the frozen parts."""
        super().train(mode)
        self.generator.eval()
        if self.source_is_fixed:
            self.source_classifier.eval()
        return self


def latent_means(generator: Generator, samples: int, seed: int = 0) -> Tensor:
    """Mean of w of every domain, (K, w_dim), or of W+, (K, rows, w_dim), where rows differ; draws from its own random
    generator.
    """
    seeds = [torch.Generator().manual_seed(seed) for _ in range(generator.domains)]
    means = torch.stack([generator.latent_mean(k, samples, g) for k, g in enumerate(seeds)])
    return means if generator.common_rows else means[:, 0].clone()


class SegmentationPaths(nn.Module):
    """One tensor in, one out: the mean of the two paths' probabilities, as log-probabilities.

    Args:
        adapter: the trained adapter.
        source: index of the labelled domain.
        target: index of the domain of the images; if it is ``source``, the source classifier alone segments.
        paths: "both", or "intra" or "inter" alone.
    Raises:
        ValueError: an unknown ``paths``.
    Source: Galati et al., MultiVesSeg.
    Deviation: the mean is of the intra and the inter path; the published script adds intra twice.
    """

    def __init__(self, adapter: PublishedAdapter, source: int, target: int, paths: str = "both") -> None:
        super().__init__()
        if paths not in PATHS:
            raise ValueError(f"paths: expected one of {PATHS}, found {paths!r}")
        self.adapter = adapter
        self.source, self.target, self.paths = source, target, paths

    def forward(self, image: Tensor) -> Tensor:
        """``image`` (B, 1, S, S) in [-1, 1] to log-probabilities (B, C, S, S)."""
        if self.source == self.target:
            features = self.adapter.decode(image, self.source, self.source).features
            return F.log_softmax(self.adapter.source_classifier(features), dim=1)
        logits = self.adapter.path_logits(image, self.source, self.target)
        if self.paths != "both":
            return F.log_softmax(getattr(logits, self.paths), dim=1)
        both = torch.stack([F.log_softmax(path, dim=1) for path in logits])
        return torch.logsumexp(both, dim=0) - math.log(2)


def start_from_source(
    paths: SegmentationPaths, path: str | os.PathLike, settings: Mapping[str, Any] | None = None
) -> SegmentationPaths:
    """Load a pre-trained source network into ``paths``, and start the target's parts from the source's.

    Args:
        paths: the untrained network, for the target.
        path: file with the source network's weights under ``model``.
        settings: as of :func:`~shared_components.networks.weights.with_weights`.
    Returns:
        ``paths``.
    Raises:
        InputError: the file is missing, holds another network, or was trained with other settings.
    """
    with_weights(paths, path, settings=settings)
    paths.adapter.start_target_from_source(paths.source, paths.target)
    return paths
