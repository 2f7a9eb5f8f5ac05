"""A success classifier: tells from camera frames whether the task is done, and rewards it.

Data are recorded episodes whose frames bear the truth: success where a step was rewarded with 1, or
where the episode succeeded. What matters in them, in this order:

- Frames on both sides of the boundary. An episode that ends with success shows it in one frame; let
  some go on after it, and let others nearly succeed, move away again, and fail.
- Episodes, not frames: neighbouring frames are alike. A fifth of the episodes chooses the threshold
  and a fifth tests, so that a hundred episodes (ten minutes of the arm's time) test on twenty. A
  false positive rate of 1 % cannot be shown on fewer than several hundred frames of failure.
- The states that the policy will visit. Train anew with the episodes of a run (its folder
  `episodes/`) when `mistakes.png` or the run shows ones that were not among the data: a touch with
  the back of a jaw is missed by a classifier that has seen ten.

Simulated Touch Cube, 400 episodes full of near misses, tested on 60 more: more than half of the
mistakes lay within a millimetre of the boundary, and of the failures more than 8 mm from it 1 in
3166 was taken for success. For the doubtful frames there is debouncing: see `ClassifierReward`.
"""
