"""Success classifier: judges from camera frames whether the task is solved, and rewards it.

Its data are recorded episodes with labelled frames: success where a step was rewarded with 1, or
where the episode succeeded. In the order of importance, they need:

- Frames on both sides of the boundary. An episode that ends with success shows it in one frame; let
  some continue after it, and let others nearly succeed, move away again, and fail.
- Episodes, not frames: neighbouring frames are alike. A fifth of the episodes chooses the threshold
  and a fifth tests, so that a hundred episodes (ten minutes of the arm's time) test on twenty. A
  false positive rate of 1 % cannot be shown on fewer than several hundred frames of failure.
- The states that the policy will visit. Train it again with the episodes of a run (its folder
  ``episodes/``) when ``mistakes.png`` or the run shows states that are missing in the data: a touch
  with the back of a jaw is missed by a classifier that has seen ten.

Simulated Touch Cube, 400 episodes full of near misses, tested on 60 more: more than half of the
mistakes lay within a millimetre of the boundary, and of the failures more than 8 mm from it 1 in
3166 was taken for success. Debouncing covers the doubtful frames: see ``ClassifierReward``.
"""
