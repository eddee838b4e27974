"""The networks of the golden files as plain functions of a parameter dictionary.

Written against the papers' descriptions and the checkpoints' key names, with
torch.nn.functional only.  bn="eval" normalises by running statistics,
bn="batch" by the (biased) statistics of the batch, as a model in training
mode does; running statistics are never updated here.
"""
import torch
import torch.nn.functional as F

EPS = 1e-5


def batch_norm(p, stats, name, x, bn):
    return F.batch_norm(x, stats[name + ".running_mean"], stats[name + ".running_var"],
                        p[name + ".weight"], p[name + ".bias"], bn == "batch", 0.0, EPS)


class CifarResNet:
    """He et al. 2015, section 4.2: 3x3 stem, three stages of `depth` = (d-2)/6 basic blocks.

    shortcut "A" (akamaster's checkpoints): x[:, :, ::2, ::2] with planes/4 zero
    channels before and after; head named "linear".
    shortcut "B" (PyHessian's): 1x1 convolution of stride 2 and batch-norm,
    named downsample.0 and downsample.1; head named "fc".
    """

    def __init__(self, shortcut, blocks=3, widths=(16, 32, 64)):
        self.shortcut, self.blocks, self.widths = shortcut, blocks, widths
        self.head = "linear" if shortcut == "A" else "fc"

    def names(self):
        """Parameter names in model order (the order of the checkpoints)."""
        out = ["conv1.weight", "bn1.weight", "bn1.bias"]
        for s in (1, 2, 3):
            for b in range(self.blocks):
                at = f"layer{s}.{b}."
                for j in (1, 2):
                    out += [f"{at}conv{j}.weight", f"{at}bn{j}.weight", f"{at}bn{j}.bias"]
                if self.shortcut == "B" and s > 1 and b == 0:
                    out += [f"{at}downsample.0.weight", f"{at}downsample.1.weight", f"{at}downsample.1.bias"]
        return out + [f"{self.head}.weight", f"{self.head}.bias"]

    def layers(self):
        """Layers with weights to quantize, in model order."""
        return [k[:-len(".weight")] for k in self.names() if k.endswith("weight")
                and "bn" not in k and "downsample.1" not in k]

    def __call__(self, p, stats, x, bn):
        y = F.relu(batch_norm(p, stats, "bn1", F.conv2d(x, p["conv1.weight"], padding=1), bn))
        for s in (1, 2, 3):
            for b in range(self.blocks):
                y = self.block(p, stats, y, f"layer{s}.{b}.", 2 if s > 1 and b == 0 else 1, bn)
        return F.linear(y.mean((2, 3)), p[self.head + ".weight"], p[self.head + ".bias"])

    def block(self, p, stats, x, at, stride, bn):
        y = F.conv2d(x, p[at + "conv1.weight"], stride=stride, padding=1)
        y = F.relu(batch_norm(p, stats, at + "bn1", y, bn))
        y = F.conv2d(y, p[at + "conv2.weight"], padding=1)
        y = batch_norm(p, stats, at + "bn2", y, bn)
        if stride == 1:
            return F.relu(y + x)
        if self.shortcut == "A":
            side = (y.shape[1] - x.shape[1]) // 2
            return F.relu(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, side, side)))
        x = F.conv2d(x, p[at + "downsample.0.weight"], stride=2)
        return F.relu(y + batch_norm(p, stats, at + "downsample.1", x, bn))


def mlp(p, x, acts, tap=lambda name, t: t):
    """Linear layers fc1, fc2, ... with acts[j] after layer j+1; tap sees every output."""
    for j, act in enumerate(acts):
        x = tap(f"act{j + 1}", act(F.linear(x, p[f"fc{j + 1}.weight"], p[f"fc{j + 1}.bias"])))
    return x


def conv_net(p, stats, x, bn, tap=lambda name, t: t):
    """Every convolution feature once: odd sizes, stride, padding, dilation, groups, depthwise, bias."""
    y = F.conv2d(x, p["conv1.weight"], stride=(2, 1), padding=(1, 2))        # [N,8,5,14]
    y = F.max_pool2d(F.relu(batch_norm(p, stats, "bn1", y, bn)), 3, 2, 1)    # [N,8,3,7]
    y = tap("pool1", y)
    y = F.conv2d(y, p["conv2.weight"], p["conv2.bias"], padding=2, dilation=2, groups=2)
    y = F.gelu(batch_norm(p, stats, "bn2", y, bn))                           # [N,6,3,7]
    y = F.conv2d(y, p["conv3.weight"], p["conv3.bias"], padding=(1, 0), groups=6)  # depthwise 3x2
    y = F.avg_pool2d(torch.tanh(y), (3, 2), stride=(1, 2))                   # [N,6,1,3]
    y = tap("pool2", y)
    return F.linear(y.flatten(1), p["fc.weight"], p["fc.bias"])


def shared_net(p, x):
    """What a user's own layer does: one kernel used twice, an odd activation, a learned scale.

    a(t) = t sin(t); the second use is scaled by s1, the skip by exp(s2).
    """

    def odd(t):
        return t * torch.sin(t)

    y = odd(F.conv2d(x, p["conv.weight"], padding=1))
    y = p["scale.s1"] * odd(F.conv2d(y, p["conv.weight"], padding=1)) + torch.exp(p["scale.s2"]) * x
    return F.linear(y.mean((2, 3)), p["fc.weight"], p["fc.bias"])


def layer_norm(p, name, x, eps):
    return F.layer_norm(x, x.shape[-1:], p[name + ".weight"], p[name + ".bias"], eps)


def attention(p, at, x, bias, heads):
    """softmax(Q K^T / sqrt(d) + bias) V over `heads` heads; bias[N,1,1,T] is 0 or -10000."""
    n, t, dim = x.shape

    def split(name):
        y = F.linear(x, p[f"{at}.{name}.weight"], p[f"{at}.{name}.bias"])
        return y.reshape(n, t, heads, dim // heads).transpose(1, 2)

    q, k, v = split("q"), split("k"), split("v")
    s = q @ k.transpose(-1, -2) / (dim // heads) ** 0.5 + bias
    y = (torch.softmax(s, -1) @ v).transpose(1, 2).reshape(n, t, dim)
    return F.linear(y, p[f"{at}.o.weight"], p[f"{at}.o.bias"])


def encoder(p, ids, bias, layers, heads, eps=1e-12):
    """BERT (post-norm): embeddings, `layers` x [attention, add, norm, GELU feed-forward, add, norm], a head per token."""
    x = p["embed.word"][ids] + p["embed.position"][: ids.shape[1]]
    x = layer_norm(p, "embed.norm", x, eps)
    for j in range(layers):
        at = f"layer{j + 1}"
        x = layer_norm(p, f"{at}.norm1", x + attention(p, at, x, bias, heads), eps)
        h = F.gelu(F.linear(x, p[f"{at}.up.weight"], p[f"{at}.up.bias"]))
        x = layer_norm(p, f"{at}.norm2", x + F.linear(h, p[f"{at}.down.weight"], p[f"{at}.down.bias"]), eps)
    return F.linear(x, p["head.weight"], p["head.bias"])
