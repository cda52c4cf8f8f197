def urlopen(url, data=None):
    opener = build_opener()
    return opener.open(url, data)


class OpenerDirector:
    pass
