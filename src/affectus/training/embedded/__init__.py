"""Tasks that train the models shipped with the package: face, voice, words, scene."""
