"""Which weights may move under PGU's guarantee, what is refused, and how the guarantee is tried."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError
from torch import nn
from torch.nn.utils import parametrizations, prune
from torchvision import models as vision
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.mobilenetv3 import MobileNetV3, _mobilenet_v3_conf

from tests.toys import blobs, tiny_net
from unlearn_lib.data import Examples, Scale, Split
from unlearn_lib.methods.pgu import (
    GoalRule,
    Watched,
    forgotten,
    matched,
    overtaken,
    pgu,
    pgu_but,
    retain_dropped,
)
from unlearn_lib.methods.pgu.moments import UnsupportedModule, load_moments, moments, save_moments
from unlearn_lib.methods.pgu.projection import Projector, cumulative, rank, ranks, spectra, spectrum
from unlearn_lib.methods.pgu.qualify import patches, qualify
from unlearn_lib.store import save_tensors
from unlearn_lib.train import Recipe, run

NEVER = GoalRule(lambda model, forget: Watched(1.0, 0.0), "never")
STEPS = Recipe(lr=0.5, batch_size=2, epochs=5)


def matrix(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def samples(*shape, n=6):
    return Examples.of(matrix(n, *shape), torch.arange(n) % 3)


def request(net, data, forget=2):
    split = Split.by_ids(data, range(forget))
    return split, spectra(moments(net, data).without(net, split.forget))


def unlearn(net, data, **options):
    """The result at full rank, and how far retained and forgotten outputs moved."""
    split, kept = request(net, data)
    result = run(pgu(net, kept, split.forget, STEPS, stop=NEVER, energy=1.0, **options))
    with torch.no_grad():
        moved = [
            float((result.model(part.x) - net(part.x)).abs().max()) for part in (split.retain, split.forget)
        ]
    return result, *moved


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Calls(nn.Module):
    """A net with a `forward` given from outside."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.call = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.call(self, x)


def layer(i=48, o=40):
    return nn.Linear(i, o)


def two(first, **options):
    """A first layer of 48 inputs and 40 outputs, and a head."""
    return lambda: nn.Sequential(first(**options), nn.ReLU(), nn.Linear(40, 3))


def with_head(forward, **make):
    """Hidden units [n, 40] by this forward, then a head."""
    return lambda: Calls(
        lambda m, x: m.head(forward(m, x).relu()),
        head=nn.Linear(40, 3),
        **{name: part() for name, part in make.items()},
    )


def image_net(*layers):
    return lambda: nn.Sequential(*(make() for make in layers), nn.Flatten(), nn.LazyLinear(3))


def tied():
    net = nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 3))
    net[2].weight = net[0].weight
    return net


def twice():
    shared = nn.Linear(48, 48)
    return nn.Sequential(shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(48, 3))


def tokens(forward, **make):
    """Three tokens of 32 numbers."""
    return lambda: Calls(
        lambda m, x: m.head(forward(m, x.view(-1, 3, 32)).mean(1)),
        head=nn.Linear(32, 3),
        **{name: part() for name, part in make.items()},
    )


class OwnForward(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, weight=self.weight, stride=self.stride, padding=self.padding) + 1


conv = nn.Conv2d
encoder = partial(nn.TransformerEncoderLayer, 32, 2, 48)
attention = partial(nn.MultiheadAttention, 32, 2)
P = nn.Parameter

PROJECTED = {
    "keyword calls": (with_head(lambda m, x: m.l(input=x), l=layer), (48,)),
    "a functional product": (with_head(lambda m, x: F.linear(x, m.l.weight), l=layer), (48,)),
    "x @ W.T": (with_head(lambda m, x: x @ m.w.T, w=lambda: P(torch.randn(40, 48) / 7)), (48,)),
    "W @ x": (with_head(lambda m, x: (m.w @ x.T).T, w=lambda: P(torch.randn(40, 48) / 7)), (48,)),
    "einsum": (
        with_head(lambda m, x: torch.einsum("bi,oi->bo", x, m.w), w=lambda: P(torch.randn(40, 48) / 7)),
        (48,),
    ),
    "rows of a weight in two places": (
        with_head(lambda m, x: torch.cat([x @ m.l.weight[:15].T, x.sin() @ m.l.weight[15:].T], 1), l=layer),
        (48,),
    ),
    "one weight in two layers": (tied, (48,)),
    "one layer called twice": (twice, (48,)),
    "an adapter of low rank": (
        with_head(lambda m, x: m.l(x) + m.b(m.a(x)), l=layer, a=lambda: layer(48, 5), b=lambda: layer(5, 40)),
        (48,),
    ),
    "a sparse mixing of hidden units": (
        with_head(lambda m, x: (torch.eye(40).to_sparse().to(x) @ m.l(x).T).T, l=layer),
        (48,),
    ),
    "experts": (
        with_head(lambda m, x: torch.where(x[:, :1] > 0, m.a(x), m.b(x)), a=layer, b=layer),
        (48,),
    ),
    "a forward of its own that is a convolution": (
        image_net(lambda: OwnForward(3, 9, 5, 3), nn.ReLU),
        (3, 9, 9),
    ),
    "groups": (image_net(lambda: conv(4, 8, 5, 2, groups=2), nn.ReLU), (4, 9, 9)),
    "depthwise": (image_net(lambda: conv(3, 6, 5, 3, groups=3), nn.ReLU, lambda: conv(6, 9, 1)), (3, 9, 9)),
    "groups in one dimension": (
        image_net(lambda: nn.Conv1d(4, 8, 9, 8, groups=2, dilation=2), nn.ReLU),
        (4, 40),
    ),
    "groups in three dimensions": (
        image_net(lambda: nn.Conv3d(4, 8, 3, 3, padding=1, groups=2), nn.ReLU),
        (4, 3, 4, 3),
    ),
    **{
        f"padding {mode}": (
            image_net(lambda mode=mode: conv(3, 9, 5, 4, padding=2, padding_mode=mode), nn.ReLU),
            (3, 9, 9),
        )
        for mode in ("circular", "reflect", "replicate")
    },
    "padding same of an even kernel": (
        image_net(lambda: conv(9, 9, 4, padding="same", dilation=2), nn.ReLU),
        (9, 3, 3),
    ),
    "channels last": (
        lambda: image_net(lambda: conv(3, 9, 5, 3).to(memory_format=torch.channels_last), nn.ReLU)(),
        (3, 9, 9),
    ),
    "self-attention": (
        tokens(lambda m, t: m.a(t, t, t)[0], a=lambda: attention(batch_first=True)),
        (96,),
    ),
    "cross-attention": (
        tokens(lambda m, t: m.a(t[:, :1], t, t.sin())[0], a=lambda: attention(batch_first=True)),
        (96,),
    ),
    "attention of separate weights": (
        tokens(lambda m, t: m.a(t, t, t)[0], a=lambda: attention(batch_first=True, kdim=32, vdim=32)),
        (96,),
    ),
    "an encoder": (tokens(lambda m, t: m.e(t), e=lambda: encoder(batch_first=True)), (96,)),
    "an encoder, samples second": (
        tokens(lambda m, t: m.e(t.transpose(0, 1)).transpose(0, 1), e=encoder),
        (96,),
    ),
    "an encoder of encoders": (
        tokens(lambda m, t: m.e(t), e=lambda: nn.TransformerEncoder(encoder(batch_first=True), 2)),
        (96,),
    ),
    "a compiled net": (lambda: torch.compile(two(layer)(), backend="eager"), (48,)),
    "a compiled layer": (two(lambda: torch.compile(layer(), backend="eager")), (48,)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel", "ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", PROJECTED)
def test_whatever_multiplies_data_moves_and_no_retained_output_does(name):
    make, shape = PROJECTED[name]
    net, data = make().double(), samples(*shape)
    net(data.x)
    net.eval()
    result, on_retained, on_forgotten = unlearn(net, data)
    assert on_retained < 1e-9
    assert on_forgotten > 1e-3
    wanted = {n for n, p in getattr(net, "_orig_mod", net).named_parameters() if p.ndim > 1}
    assert set(result.trace.layers) == wanted


def mobilenet_v3():
    settings, _ = _mobilenet_v3_conf("mobilenet_v3_small", width_mult=0.25)
    return MobileNetV3(settings[:4], 32, num_classes=3)


def efficientnet():
    stage = partial(MBConvConfig, width_mult=1.0, depth_mult=1.0)
    return EfficientNet([stage(1, 3, 1, 8, 8, 1), stage(4, 5, 2, 8, 16, 2)], 0.2, num_classes=3)


def convnext():
    stages = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)]
    return ConvNeXt(stages, num_classes=3)


def vit():
    net = vision.VisionTransformer(16, 8, 2, 2, 32, 48, num_classes=3)
    nn.init.normal_(net.heads.head.weight)
    return net


FAMILIES = {
    "MobileNet v2": lambda: vision.MobileNetV2(3, 0.25, [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 2]]),
    "MobileNet v3": mobilenet_v3,
    "EfficientNet": efficientnet,
    "ConvNeXt": convnext,
    "ViT": vit,
    "ShuffleNet": lambda: vision.ShuffleNetV2([1, 1, 1], [8, 16, 24, 32, 48], num_classes=3),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_nets_that_people_have_unlearn_at_full_rank(name):
    net, data = FAMILIES[name]().double(), samples(3, 16, 16, n=4)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(data.x)
    net.eval()
    before = {n: p.clone() for n, p in net.named_parameters()}
    result, on_retained, on_forgotten = unlearn(net, data)
    assert on_retained < 1e-7
    assert on_forgotten > 100 * on_retained
    after = dict(result.model.named_parameters())
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    assert moved
    assert moved <= set(result.trace.layers)
    layers = {n for n, p in net.named_parameters() if p.ndim > 1 and "weight" in n}
    assert set(result.trace.layers) == layers


class Standardized(nn.Conv2d):
    def forward(self, x):
        v, m = torch.var_mean(self.weight, (1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - m) / (v + 1e-5).sqrt(), self.bias)


class Masked(nn.Linear):
    def __init__(self):
        super().__init__(48, 40)
        self.register_buffer("mask", (torch.rand(40, 48) > 0.5).float())

    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)


def pruned():
    net = two(layer)()
    prune.l1_unstructured(net[0], "weight", 0.5)
    return net


def same_memory(turn):
    net = nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 3))
    net[2].weight = P(turn(net[0].weight.data))
    return net


def words(m, x):
    hidden = m.l(m.e((5 * x).abs().long() % 48).mean(1)).relu()
    return F.linear(hidden, m.e.weight)[:, :40]


L48 = partial(layer, 48, 48)
REFUSED = {
    "weight norm": (two(lambda: parametrizations.weight_norm(layer())), r"remove_parametrizations\(model"),
    "spectral norm": (two(lambda: parametrizations.spectral_norm(layer())), "remove_parametrizations"),
    "orthogonal": (two(lambda: parametrizations.orthogonal(layer())), "remove_parametrizations"),
    "old weight norm": (two(lambda: nn.utils.weight_norm(layer())), r"remove_weight_norm\(model.get_sub"),
    "old spectral norm": (two(lambda: nn.utils.spectral_norm(layer())), "remove_spectral_norm"),
    "pruned": (pruned, r'prune.remove\(model.get_submodule\("0"\), "weight"\)'),
    "masked": (two(Masked), "computed from `0.weight`"),
    "scaled": (with_head(lambda m, x: F.linear(x, 0.5 * m.l.weight), l=layer), "computed from `l.weight`"),
    "cosine": (
        with_head(lambda m, x: F.linear(x, F.normalize(m.l.weight, dim=-1)), l=layer),
        "computed from `l.weight`",
    ),
    "merged adapter": (
        with_head(
            lambda m, x: F.linear(x, m.l.weight + m.b.weight @ m.a.weight),
            l=layer,
            a=lambda: layer(48, 5),
            b=lambda: layer(5, 40),
        ),
        "computed from `[lab].weight`",
    ),
    "also transposed": (
        with_head(lambda m, x: F.linear(m.l(x).relu(), m.l.weight.T)[:, :40], l=layer),
        "`l.weight` multiplies data, but is also read otherwise",
    ),
    "also a number": (
        with_head(lambda m, x: m.l(x) / m.l.weight.norm().item(), l=layer),
        "`l.weight` multiplies data, but is also read otherwise",
    ),
    "also detached": (
        with_head(lambda m, x: m.l(x) * m.l.weight.detach().abs().mean(), l=layer),
        "`l.weight` multiplies data, but is also read otherwise",
    ),
    "also an embedding": (
        with_head(words, e=lambda: nn.Embedding(48, 48), l=L48),
        "`e.weight` multiplies data, but is also read otherwise, by aten.embedding",
    ),
    "x @ W": (
        with_head(lambda m, x: x @ m.w, w=lambda: P(torch.randn(48, 40) / 7)),
        r"`w` multiplies the data otherwise than as W p.*\[out, in\]",
    ),
    "some columns": (
        with_head(lambda m, x: x[:, :20] @ m.l.weight[:, :20].T, l=layer),
        "`l.weight` multiplies the data otherwise",
    ),
    "same memory": (lambda: same_memory(lambda w: w), "`0.weight` lies in the memory of `2.weight`"),
    "same memory, turned": (lambda: same_memory(lambda w: w.t()), "multiplies"),
    "dropout in eval mode": (with_head(lambda m, x: F.dropout(m.l(x)), l=layer), "random in eval mode"),
    "dropout of the outputs": (lambda: Calls(lambda m, x: F.dropout(m.l(x)), l=layer()), "random in eval"),
    "an unused random number": (
        with_head(lambda m, x: m.l(x) + 0 * torch.rand(1).item(), l=layer),
        "random in eval mode: it draws",
    ),
    "a mean over the batch": (
        with_head(lambda m, x: m.l(x) - m.l(x).mean(0), l=layer),
        "whole batch: the inputs of `head.weight` change",
    ),
    "batch norm without statistics": (
        lambda: nn.Sequential(layer(), nn.BatchNorm1d(40, track_running_stats=False), nn.Linear(40, 3)),
        "whole batch",
    ),
    "a layer that also sees a constant": (
        with_head(lambda m, x: m.l(x) + m.l(torch.ones(1, 48).to(x)), l=layer),
        "whole batch: the inputs of `l.weight` change.*requires_grad_",
    ),
    "bfloat16": (lambda: two(layer)().bfloat16(), r"`0.weight` is torch.bfloat16: .*model.float\(\)"),
    "float16": (lambda: two(layer)().half(), "`0.weight` is torch.float16"),
    "TorchScript": (lambda: torch.jit.trace(two(layer)(), torch.ones(1, 48)), "TorchScript"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_before_the_moments(name, monkeypatch):
    # nothing expensive may be reached
    monkeypatch.setattr("unlearn_lib.methods.pgu.moments._accumulate", None)
    make, message = REFUSED[name]
    net = make().eval()
    before = torch.random.get_rng_state()
    with pytest.raises(UnsupportedModule, match=message):
        moments(net, samples(48))
    assert torch.equal(before, torch.random.get_rng_state())


def test_convolutions_with_another_weight_or_turned_are_refused():
    data = samples(3, 9, 9)
    for make, message in (
        (lambda: Standardized(3, 9, 3), "computed from `0.weight`"),
        (lambda: nn.ConvTranspose2d(3, 9, 3), "`0.weight` is a transposed .*Use an upsampling"),
        (lambda: nn.ConvTranspose2d(3, 9, 3, groups=3), "transposed"),
    ):
        net = nn.Sequential(make(), nn.Flatten(), nn.LazyLinear(3)).double()
        net(data.x)
        with pytest.raises(UnsupportedModule, match=message):
            moments(net.eval(), data)


@pytest.mark.parametrize("name", ["scaled", "also transposed", "x @ W"])
def test_a_refused_weight_that_is_frozen_stands_still_and_the_rest_moves(name):
    net = REFUSED[name][0]().double().eval()
    for own, p in net.named_parameters():
        p.requires_grad_(own.startswith("head"))
    result, on_retained, on_forgotten = unlearn(net, samples(48))
    assert list(result.trace.layers) == ["head.weight"]
    assert on_retained < 1e-9 < 1e-3 < on_forgotten


def test_weights_without_gradients_stand_still_and_are_not_in_the_trace():
    net, data = two(layer)().double().eval(), samples(48)
    split, kept = request(net, data)
    net[0].requires_grad_(False)  # after the moments
    result = run(pgu(net, kept, split.forget, STEPS.but(weight_decay=0.1), stop=NEVER))
    assert torch.equal(result.model[0].weight, net[0].weight)
    assert list(result.trace.layers) == list(result.trace.survival) == ["2.weight"]
    assert [p.requires_grad for p in result.model.parameters()] == [False, False, True, True]
    net.requires_grad_(False)
    with pytest.raises(ValueError, match="must have a weight that may move"):
        run(pgu(net, kept, split.forget, STEPS, stop=NEVER))


def test_a_weight_fed_with_constants_alone_stands_still():
    net = with_head(lambda m, x: m.l(x) + m.c(torch.ones(1, 5).to(x)), l=layer, c=lambda: layer(5, 40))()
    result, on_retained, on_forgotten = unlearn(net.double().eval(), samples(48))
    assert set(result.trace.layers) == {"l.weight", "head.weight"}
    assert on_retained < 1e-9 < 1e-3 < on_forgotten


def test_a_second_use_that_shows_for_some_samples_only_is_found_in_the_pass():
    def forward(m, x):
        return m.l(x) + (x @ m.l.weight.abs().T if len(x) == 5 else 0)

    net = with_head(forward, l=layer)().double().eval()
    with pytest.raises(UnsupportedModule, match=r"for some samples it is also read otherwise, by aten.abs"):
        moments(net, samples(48, n=25), batch_size=20)


# Moments of groups, attention and shared weights --------------------------------------------------------


def test_a_grouped_convolution_is_its_weight_times_patches_group_by_group():
    layer = nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2, bias=False).double()
    x = matrix(5, 4, 7, 6)
    p = patches(x, layer.kernel_size, layer.stride, layer.padding, layer.dilation, 2)
    product = layer.weight.view(2, 3, -1) @ p
    torch.testing.assert_close(product.flatten(0, 1), layer(x).transpose(0, 1).flatten(1))


def test_moments_of_groups_are_those_of_layers_side_by_side():
    grouped = nn.Conv2d(4, 6, 3, groups=2).double()
    data = samples(4, 5, 5)
    whole = moments(nn.Sequential(grouped), data)
    for g in range(2):
        alone = nn.Sequential(nn.Conv2d(2, 3, 3).double())
        half = Examples.of(data.x[:, 2 * g : 2 * g + 2], data.y)
        M = moments(alone, half).layers["0.weight"]
        torch.testing.assert_close(whole.layers["0.weight"][g], M)
    assert whole.nbytes == {"0.weight": 8 * 2 * 18**2}


def test_the_moment_of_self_attention_is_that_of_its_tokens():
    net = tokens(lambda m, t: m.a(t, t, t)[0], a=lambda: attention(batch_first=True))().double().eval()
    data = samples(96)
    t = data.x.view(-1, 32)
    torch.testing.assert_close(moments(net, data).layers["a.in_proj_weight"], t.T @ t)


def test_the_moment_of_a_shared_weight_counts_every_use():
    net, data = tied().double().eval(), samples(48)
    h = F.relu(net[0](data.x)).detach()
    torch.testing.assert_close(moments(net, data).layers["0.weight"], data.x.T @ data.x + h.T @ h)


def test_each_group_has_its_own_rank_and_projector():
    M = torch.stack([matrix(5, k, seed=k) @ matrix(5, k, seed=k).T for k in (1, 3, 5)])
    found = spectrum(M)
    assert ranks(found, 1) == [1, 3, 5]
    G = matrix(6, 5)
    for k in ([1, 3, 5], [0, 0, 2], [5, 4, 4], [5, 5, 5], [0, 0, 0]):
        parts = [
            Projector.of(U, one)(part) for U, one, part in zip(found.vectors, k, G.split(2), strict=True)
        ]
        torch.testing.assert_close(found.projector(k)(G), torch.cat(parts))


def test_a_group_that_no_retained_sample_uses_is_free_to_move():
    M = torch.stack([torch.zeros(3, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)])
    assert ranks(spectrum(M), 0.9) == [0, 3]


# The warning and the trial ------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [lambda c: nn.GroupNorm(2, c), nn.BatchNorm2d, nn.InstanceNorm2d])
def test_float32_nets_subtract_without_a_false_alarm(norm):
    blocks = [nn.Sequential(nn.Conv2d(a, 16, 3, padding=1), norm(16), nn.ReLU()) for a in (1, *[16] * 5)]
    net = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(1024, 3)).eval()
    data = Examples.of(matrix(60, 1, 8, 8).float(), torch.arange(60) % 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectra(moments(net, data).without(net, data.head(17)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_moment_that_is_really_indefinite_warns(dtype):
    net, data = two(layer)().to(dtype).eval(), samples(48, n=30)
    shifted = Examples(data.x[:5] + 0.01, data.y[:5], data.ids[:5])
    with pytest.warns(UserWarning, match="not positive semi-definite"):
        spectra(moments(net, data).without(net, shifted))


@pytest.mark.parametrize(("rounding", "warns"), [(0.0, True), (1e-9, True), (2e-7, False)])
def test_the_warning_scales_with_the_rounding_of_the_features(rounding, warns):
    M = torch.diag(torch.tensor([1.0, 0.5, -1e-6], dtype=torch.float64))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert spectrum(M, "M", rounding).values[-1] == 0
    assert bool(said) is warns


def test_moments_that_miss_what_the_retained_samples_use_are_refused():
    net, data = two(layer)().double().eval(), samples(48)
    split = Split.by_ids(data, range(2))
    left = moments(net, data).without(net, split.forget)
    small = {**left.layers, "0.weight": left.layers["0.weight"] * 0 + torch.eye(48) * 0}
    small["0.weight"][0, 0] = 1.0
    with pytest.raises(UnsupportedModule, match=r"`0.weight` does not do what its moment says"):
        run(pgu(net, spectra(replace(left, layers=small)), split.forget, STEPS, stop=NEVER))


def test_a_use_outside_of_torchs_operations_is_found_by_the_trial():
    def forward(m, x):
        return m.l(x) * float(m.l.weight.detach().numpy().std())

    net = with_head(forward, l=layer)().double().eval()
    split, kept = request(net, samples(48))
    with pytest.raises(UnsupportedModule, match=r"`l.weight` does not do what its moment says"):
        run(pgu(net, kept, split.forget, STEPS, stop=NEVER))


def test_the_trial_leaves_model_and_random_stream_alone():
    net, data = two(layer)().double().eval(), samples(48)
    before, was = [p.clone() for p in net.parameters()], torch.random.get_rng_state()
    split, kept = request(net, data)
    assert next(pgu(net, kept, split.forget, STEPS, stop=NEVER))
    assert all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))
    assert torch.equal(was, torch.random.get_rng_state())


def test_no_forgotten_sample_stays_in_the_probe_nor_in_the_file(tmp_path):
    net, data = two(layer)().double().eval(), samples(48, n=30)
    full = moments(net, data)
    assert 0 < len(full.probe) <= 8
    assert {int(data.y[i]) for i in full.probe} == {0, 1, 2}
    gone = list(full.probe)[:3]
    left = full.without(net, data.select(gone))
    assert left.probe.keys() == full.probe.keys() - set(gone)
    save_moments(tmp_path / "m.safetensors", left)
    loaded = load_moments(tmp_path / "m.safetensors")
    assert loaded.probe.keys() == left.probe.keys()
    assert all(torch.equal(loaded.probe[i], data.x[i]) for i in left.probe)
    assert loaded.rounding == left.rounding == torch.finfo(torch.float64).eps
    assert loaded.layers.keys() == left.layers.keys()
    raw = (tmp_path / "m.safetensors").read_bytes()
    assert data.x[next(iter(left.probe))].numpy().tobytes() in raw
    assert not any(data.x[i].numpy().tobytes() in raw for i in gone)


def test_moments_of_older_files_are_loaded_without_a_probe(tmp_path):
    net, data = two(layer)().double().eval(), samples(48)
    full = moments(net, data)
    note = {"model": full.model, "seconds": full.seconds}
    save_tensors(tmp_path / "m.safetensors", {**full.layers, "ids": full.ids}, note)
    old = load_moments(str(tmp_path / "m.safetensors"))
    assert not old.probe
    assert torch.equal(old.ids, full.ids)
    split = Split.by_ids(data, range(2))
    kept = spectra(old.without(net, split.forget))
    assert run(pgu(net, kept, split.forget, STEPS, stop=NEVER)).trace.layers


def test_a_request_that_takes_the_whole_probe_still_runs():
    net, data = two(layer)().double().eval(), samples(48, n=30)
    full = moments(net, data)
    forget = data.select(full.probe)
    left = full.without(net, forget)
    assert not left.probe
    assert run(pgu(net, spectra(left), forget, STEPS, stop=NEVER, energy=1.0)).trace.layers


def test_a_float64_net_unlearns_stored_integers():
    x = (matrix(12, 1, 4, 4) * 40).clamp(0, 255).to(torch.uint8)
    data = Examples(x, torch.arange(12) % 3, torch.arange(12), Scale.of(x))
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double().eval()
    split, kept = request(net, data)
    result = run(pgu(net, kept, split.forget, STEPS, stop=NEVER))
    assert result.model[1].weight.dtype == torch.float64


def test_qualifying_finds_groups_and_leaves_what_adds_and_scales():
    net = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.GroupNorm(2, 6), nn.Flatten(), nn.Linear(6, 2))
    weights = dict(net.named_parameters())
    assert qualify(net, torch.randn(3, 4, 3, 3), weights) == {"0.weight": 2, "3.weight": 1}
    assert net.training


# Bad calls ----------------------------------------------------------------------------------------------


def bad_calls():
    net, data = tiny_net().eval(), blobs(24)
    split = Split.by_class(data, 0)
    full = moments(net, data)
    kept = spectra(full.without(net, split.forget))

    def unlearn(**options):
        arguments = {"model": net, "retained": kept, "forget": split.forget, "recipe": STEPS, "stop": NEVER}
        return run(pgu_but(**(arguments | options)))

    return [
        *(lambda n=n: moments(net, data, batch_size=n) for n in (0, -1, 1.5, "x", True)),
        *(lambda n=n: full.without(net, split.forget, batch_size=n) for n in (0, 1.5)),
        lambda: moments("net", data),
        lambda: moments(net, data.x),
        lambda: moments(net, data.head(0)),
        lambda: full.without(net, data.head(0)),
        lambda: moments(net, Examples.of(torch.zeros(2, 7), [0, 1])),
        lambda: spectra(full.layers),
        lambda: spectrum(torch.zeros(3, 4)),
        lambda: spectrum(torch.zeros(0, 0)),
        lambda: spectrum(torch.full((2, 2), math.nan)),
        lambda: spectrum(torch.tensor([[1.0, 2.0], [0.0, 1.0]])),
        lambda: spectrum([[1.0]]),
        *(lambda e=e: rank(torch.ones(3), e) for e in (math.nan, 1.5, -0.1, "x", None)),
        lambda: rank(torch.tensor([]), 0.5),
        lambda: rank(torch.tensor([1.0, math.nan]), 0.5),
        lambda: rank(torch.tensor([1.0, -1.0]), 0.5),
        lambda: rank(torch.tensor([1.0, 2.0]), 0.5),
        lambda: rank(torch.ones(2, 2), 0.5),
        lambda: rank(torch.ones(3), 0.5, "sigma3"),
        lambda: cumulative(torch.ones(3), None),
        *(lambda a=a: forgotten(a) for a in (2, math.nan, "x", -0.1, None)),
        *(lambda a=a: matched(split.retain, auc=a) for a in (7, math.nan, "x")),
        lambda: matched(data.x),
        lambda: overtaken(data.head(0)),
        lambda: retain_dropped(split.retain, 5, -3),
        lambda: retain_dropped(split.retain, 0.9, -3),
        lambda: retain_dropped(None, 0.9),
        lambda: GoalRule(None, "never"),
        lambda: NEVER.decide([]),
        lambda: NEVER.decide([Watched(math.nan, 0.0)]),
        lambda: unlearn(retained=full),
        lambda: unlearn(model="net"),
        lambda: unlearn(forget=split.forget.x),
        lambda: unlearn(recipe="sgd"),
        lambda: unlearn(stop=0.05),
        lambda: unlearn(stop=GoalRule(lambda m, f: Watched(math.nan, 0.0), "NaN")),
        *(lambda e=e: unlearn(energy=e) for e in (0, math.nan, "x", None, {"1.weight": 0.5})),
        *(lambda r=r: unlearn(last_lr=r) for r in (0, math.inf, math.nan, "x")),
        lambda: unlearn(rule="sigma3"),
        lambda: unlearn(loss_fn=1.0),
        lambda: unlearn(directions="all"),
        lambda: unlearn(freeze="1.weight"),
        lambda: unlearn(freeze=["4.weight"]),
        lambda: unlearn(loose="bias"),
        lambda: unlearn(loose=[3]),
        lambda: unlearn(original=3),
        lambda: save_moments("m", kept),
        lambda: save_moments(3, full),
        lambda: load_moments(None),
    ]


def test_a_bad_call_ends_in_an_error_that_names_the_argument():
    for number, call in enumerate(bad_calls()):
        with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
            pytest.fail(f"call {number} gave {call()}")
        # the type checker of the tests comes before our own check of kinds
        assert "`" in str(caught.value) or isinstance(caught.value, TypeCheckError), number


def test_beside_its_logits_a_net_may_return_anything():
    class Talkative(torch.nn.Module):
        """Logits, and a number a sample, a number and some constants beside them."""

        def __init__(self):
            super().__init__()
            self.l = layer()

        def forward(self, x):
            z = self.l(x)
            return z, z.sum(1), torch.tensor(1.0), torch.zeros(7)

    net = Talkative().double().eval()
    assert moments(net, samples(48)).layers.keys() == {"l.weight"}


def test_a_dead_net_stands_still_and_passes_the_trial():
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).double()
    with torch.no_grad():
        net[0].bias.fill_(-1e9)
        net[2].bias.zero_()
    data = blobs(30)
    split = Split.by_ids(data, range(3))
    kept = spectra(moments(net, data).without(net, split.forget))
    done = run(pgu(net, kept, split.forget, STEPS, stop=NEVER))
    assert torch.equal(done.model(data.x), net(data.x))
