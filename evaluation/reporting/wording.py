"""What a report calls the study's generator: "the GAN", or the name of another one."""

from dataclasses import dataclass

GAN = "GAN"


@dataclass(frozen=True)
class Wording:
    """The words for a generator in sentences.

    Attributes:
        name: "GAN", or what another generator is called, such as "pca-mixture".
    """

    name: str = GAN

    @property
    def is_gan(self) -> bool:
        """Whether it is this project's GAN, of whose training there is a record."""
        return self.name == GAN

    @property
    def augmentation(self) -> str:
        """Return the subject of "… helps"."""
        return "GAN augmentation" if self.is_gan else f"augmentation by {self.name}"

    @property
    def indefinite(self) -> str:
        """Return what arms may be without."""
        return "a GAN" if self.is_gan else self.name

    @property
    def definite(self) -> str:
        """Return the generator as a subject."""
        return "the GAN" if self.is_gan else self.name

    @property
    def needs_none(self) -> str:
        """Return what may be said of an arm or a classifier."""
        return "needs no GAN" if self.is_gan else f"does without {self.name}"

    @property
    def images(self) -> str:
        """Return what it made."""
        return "the GAN's images" if self.is_gan else f"the images of {self.name}"

    @property
    def kind(self) -> str:
        """Return what it is one of."""
        return "GAN" if self.is_gan else "generator"

    def described(self, text: str) -> str:
        """Return an arm's description, which speaks of a GAN, for this generator."""
        return text if self.is_gan else text.replace("GAN", "generator")
