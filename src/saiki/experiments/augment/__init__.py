"""Images changed at random while a classifier learns from few of them: does it help?"""
