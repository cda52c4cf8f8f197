import unittest


class BasicTest(unittest.TestCase):

    def test_begin(self):
        self.assertTrue(True)

    def test_close(self):
        self.assertTrue(True)
