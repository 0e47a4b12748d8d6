"""Every external weight that the project can use: its source, its hashes and the terms of its licence.

A sha256 is written here only where it is publicly known with certainty. Otherwise `fetch` compares a file with the hash
that the hub states, and records the hash of the first fetch, which all later fetches and checks must match.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from datagen.common.errors import UserError


@dataclass(frozen=True)
class WeightFile:
    """One file of a weight.

    Attributes:
        path: path in the hub repository, and the same in the weight's folder.
        size: size in bytes, if known.
        sha256: hash of the content, if publicly known.
        url: full https address of a file that is not on the hub.
        unpack_to: folder (below the weight's) that a zip's `.onnx` members are unpacked to.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    url: str = ""
    unpack_to: str = ""


@dataclass(frozen=True)
class Weight:
    """One external model and its terms.

    Attributes:
        name: the weight's name on the command line.
        title: the model's full name.
        used_by: the parts of the project that use it.
        licence: licence of the weights, as their publisher states it.
        commercial: whether the licence allows commercial use; "unclear" is treated like "no".
        note: what a user should know about the terms or the source.
        repo: hub repository, empty for files elsewhere.
        revision: hub commit, so that the same bytes come back every time.
        approximate_bytes: download size where single sizes are not known.
    """

    name: str
    title: str
    used_by: str
    licence: str
    commercial: Literal["yes", "no", "unclear"]
    files: tuple[WeightFile, ...]
    repo: str = ""
    revision: str = "main"
    note: str = ""
    approximate_bytes: int | None = None

    @property
    def bytes(self) -> int:
        """Download size, exact when every large file's size is known."""
        return self.approximate_bytes or sum(file.size or 0 for file in self.files)

    @property
    def source(self) -> str:
        """Its origin, as one phrase for tables."""
        if self.repo:
            short = self.revision[:8] if len(self.revision) == 40 else self.revision
            return f"hub {self.repo}@{short}"
        return self.files[0].url


_INSIGHTFACE = "https://github.com/deepinsight/insightface/releases/download/v0.7"
_INSIGHTFACE_TERMS = "InsightFace models: non-commercial research only"

WEIGHTS: tuple[Weight, ...] = (
    Weight(
        name="sd15",
        title="Stable Diffusion 1.5, UNet and VAE",
        used_by="weights import sd15: spatial UNet and ReferenceNet to start from",
        licence="CreativeML OpenRAIL-M",
        commercial="yes",
        note="the use restrictions of the licence's Attachment A also apply to models trained from it",
        repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        files=(
            WeightFile("unet/config.json"),
            WeightFile(
                "unet/diffusion_pytorch_model.safetensors",
                3_438_167_540,
                "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1",
            ),
            WeightFile("vae/config.json"),
            WeightFile(
                "vae/diffusion_pytorch_model.safetensors",
                334_643_276,
                "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c",
            ),
        ),
    ),
    Weight(
        name="sd-vae-ft-mse",
        title="Stable Diffusion VAE, fine-tuned on MSE",
        used_by="train, precompute, sampling: latents of every frame",
        licence="MIT",
        commercial="yes",
        repo="stabilityai/sd-vae-ft-mse",
        revision="31f26fdeee1355a5c34592e401dd41e45d25a493",
        files=(
            WeightFile(
                "config.json", 547, "92d3dfb746fca211a2c9e019e285f8597412211728dce3c5bcf4eda0f2d62e7e"
            ),
            WeightFile(
                "diffusion_pytorch_model.safetensors",
                334_643_276,
                "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
            ),
        ),
    ),
    Weight(
        name="clip-vit-l14",
        title="CLIP ViT-L/14",
        used_by="train, precompute, sampling: tokens of the reference's background",
        licence="MIT",
        commercial="yes",
        note="MIT is the licence of OpenAI's release; the model card advises against deployment without own tests",
        repo="openai/clip-vit-large-patch14",
        revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
        files=(
            WeightFile(
                "config.json", 4_519, "8a09b467700c58138c29d53c605b34ebc69beaadd13274a8a2af8ad2c2f4032a"
            ),
            WeightFile(
                "preprocessor_config.json",
                316,
                "910e70b3956ac9879ebc90b22fb3bc8a75b6a0677814500101a4c072bd7857bd",
            ),
            WeightFile(
                "model.safetensors",
                1_710_540_580,
                "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
            ),
        ),
    ),
    Weight(
        name="animatediff-v3",
        title="AnimateDiff v3 motion modules",
        used_by="weights import animatediff-v3: Temporal Layer to start from",
        licence="Apache-2.0",
        commercial="yes",
        repo="guoyww/animatediff",
        revision="fdfe36afa161e51b3e9c24022b0e368d59e7345e",
        files=(
            WeightFile(
                "v3_sd15_mm.ckpt",
                1_673_262_583,
                "2412711886f61091846f53204aabc38aa6e09356d62a9808abe4daa802168343",
            ),
        ),
    ),
    Weight(
        name="magicanimate-appearance",
        title="MagicAnimate appearance encoder",
        used_by="weights import appearance-encoder: ReferenceNet to start from",
        licence="BSD-3-Clause (project); not stated for the weights alone",
        commercial="unclear",
        repo="zcxu-eric/MagicAnimate",
        revision="3d80ae8c50b289e55ee68deecc83afaab9c6a382",
        approximate_bytes=3_430_000_000,
        files=(
            WeightFile("appearance_encoder/config.json"),
            WeightFile("appearance_encoder/diffusion_pytorch_model.safetensors"),
        ),
    ),
    Weight(
        name="megactor",
        title="MegActor v1, published checkpoint",
        used_by="weights import megactor: the whole model, preset `published`",
        licence="Apache-2.0 (project's LICENSE.txt); source headers reserve all rights",
        commercial="unclear",
        note="the path inside the repository follows the project's instructions; with a copy use --from",
        repo="HVSiniX/RawVideoDriven",
        approximate_bytes=4_700_000_000,
        files=(WeightFile("weights/checkpoint-steps9000.ckpt"),),
    ),
    Weight(
        name="sdxl-turbo",
        title="SDXL-Turbo, fp16",
        used_by="stylise with diffusers (image to image, 1-2 steps)",
        licence="Stability AI Community (card: sai-nc-community)",
        commercial="no",
        note="commercial use needs Stability AI's own terms",
        repo="stabilityai/sdxl-turbo",
        revision="71153311d3dbb46851df1931d3ca6e939de83304",
        approximate_bytes=6_940_000_000,
        files=(
            WeightFile("model_index.json"),
            WeightFile("scheduler/scheduler_config.json"),
            WeightFile("text_encoder/config.json"),
            WeightFile(
                "text_encoder/model.fp16.safetensors",
                246_144_152,
                "660c6f5b1abae9dc498ac2d21e1347d2abdb0cf6c0c0c8576cd796491d9a6cdd",
            ),
            WeightFile("text_encoder_2/config.json"),
            WeightFile(
                "text_encoder_2/model.fp16.safetensors",
                sha256="ec310df2af79c318e24d20511b601a591ca8cd4f1fce1d8dff822a356bcdb1f4",
            ),
            *(
                WeightFile(f"{folder}/{name}")
                for folder in ("tokenizer", "tokenizer_2")
                for name in ("merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json")
            ),
            WeightFile("unet/config.json"),
            WeightFile(
                "unet/diffusion_pytorch_model.fp16.safetensors",
                sha256="48fa46161a745f48d4054df3fe13804ee255486bca893403b60373c188fd1bdb",
            ),
            WeightFile("vae/config.json"),
            WeightFile("vae/diffusion_pytorch_model.fp16.safetensors"),
        ),
    ),
    Weight(
        name="inswapper",
        title="InsightFace inswapper_128",
        used_by="swap with insightface",
        licence=_INSIGHTFACE_TERMS,
        commercial="no",
        note="withdrawn by its authors from their own release page; this is a mirror, pinned by sha256",
        repo="ezioruan/inswapper_128.onnx",
        files=(
            WeightFile(
                "inswapper_128.onnx",
                554_253_681,
                "e4a3f08c753cb72d04e10aa0f7dbe3deebbf39567d4ead6dce08e98aa49e16af",
            ),
        ),
    ),
    Weight(
        name="buffalo_l",
        title="InsightFace pack buffalo_l (detection, landmarks, ArcFace R50)",
        used_by="faces and identity with insightface",
        licence=_INSIGHTFACE_TERMS,
        commercial="no",
        files=(
            WeightFile(
                "buffalo_l.zip",
                288_621_354,
                "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
                f"{_INSIGHTFACE}/buffalo_l.zip",
                "models/buffalo_l",
            ),
        ),
    ),
    Weight(
        name="antelopev2",
        title="InsightFace pack antelopev2 (detection, landmarks, ArcFace R100)",
        used_by="faces and identity with insightface",
        licence=_INSIGHTFACE_TERMS,
        commercial="no",
        files=(
            WeightFile(
                "antelopev2.zip",
                360_662_982,
                "8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5",
                f"{_INSIGHTFACE}/antelopev2.zip",
                "models/antelopev2",
            ),
        ),
    ),
    Weight(
        name="taesd",
        title="TAESD, tiny VAE of SD 1.x",
        used_by="previews and quick training without the full VAE",
        licence="MIT",
        commercial="yes",
        repo="madebyollin/taesd",
        revision="614f76814bbe30edbe2e627ace1c2234c81a2c0e",
        files=(
            WeightFile("config.json"),
            WeightFile(
                "diffusion_pytorch_model.safetensors",
                9_793_292,
                "db169d69145ec4ff064e49d99c95fa05d3eb04ee453de35824a6d0f325513549",
            ),
        ),
    ),
    Weight(
        name="taesdxl",
        title="TAESDXL, tiny VAE of SDXL",
        used_by="stylise with diffusers: decoding in a tenth of the time",
        licence="MIT",
        commercial="yes",
        repo="madebyollin/taesdxl",
        revision="b20258aaef75ef61e659c1e0f14f251cf0ad153e",
        files=(
            WeightFile("config.json"),
            WeightFile(
                "diffusion_pytorch_model.safetensors",
                9_793_292,
                "ff4824aca94dd6111e0340fa749347fb74101060d9712cb5ef1ca8f1cf17502f",
            ),
        ),
    ),
)


def weight(name: str) -> Weight:
    """The registry's entry of that name.

    Raises:
        UserError: unknown name; the message lists the known ones.
    """
    for entry in WEIGHTS:
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in WEIGHTS)
    raise UserError(f"weights: {name!r} is not a known weight; known: {known}", code=2)
