"""Known formats: files of data (*.toml) that say how the exports of other programs are read."""
