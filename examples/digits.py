"""
Handwritten digits
==================

Train a classifier on 8 x 8 images of handwritten digits, score it on test images, save it, and load
it again. The data set is part of scikit-learn, so nothing is downloaded.
"""

# %%
# Split the images, and scale the pixels from 0..16 to 0..1.
import tempfile
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gpubp import MLPClassifier, load, save

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
print(f"{len(X_train)} images to train on, {len(X_test)} to test")

# %%
# With ``early_stopping``, a tenth of the training images is held out. Training stops when the score
# of these images no longer improves, and the weights of the best epoch are kept.
model = MLPClassifier((128, 64), max_iter=50, early_stopping=True, random_state=0)
model.fit(X_train, y_train)
print(f"{model.n_iter_} epochs on {model.device_}, the best was epoch {model.best_epoch_}")
print(f"accuracy on the test images: {model.score(X_test, y_test):.3f}")

# %%
# A model file contains only data, so loading it runs no code.
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    save(model, path)
    loaded = load(path)
print("predicted:", loaded.predict(X_test[:8]))
print("true:     ", y_test[:8])
