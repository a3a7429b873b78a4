"""Pre-training on plain text, with or without a teacher; shared by every paper that pre-trains.

    corpus = find_corpus(run.data, run.data_dir, words, smoke=...)          common.tasks.corpora
    text = encoded_text(run.store, corpus, tokenizer, run.say)              token ids on disk, memory-mapped
    words = Words.of(tokenizer)                                             special ids, frames, where words begin
    rows = PackedRows(text, words, length)                                  or SegmentPairs(..., ordering="order")
    train, held = held_out(rows)
    batches = MaskedBatches(train, words, Uniform(0.15), batch_size, seed)  masked anew in every epoch

A `Masking` is any function (ids, maskable, generator) -> chosen: a paper brings its own (by frequency, of n-grams;
`Words.continues` says where words go on); None masks nothing. `Reading(text, words, length)` holds the four last lines
for packed rows, and scores a model on what is held back (`Reading.score`).

    model = MaskedLanguageModel(encoder, LanguageHead.fresh(encoder, seed)) head on masked positions only, table tied
    teacher = language_teacher(run, backbone)                               .model(), .score, .fingerprint: one for all
    seen = observe(encoder, *batch.texts)                                   .hidden h_0..h_n, .scores before the softmax
    folder = Pretrainer.of(run).trained(name, facts, fresh, lambda: batches, loss, plan, Work(flops_per_token, shape))

`Pretrainer.trained` resumes in mid-epoch, says tokens per second and their share of the ceiling of matrix products, and
keeps both in training.json. `language_loss` is plain masked-language pre-training; `MaskedBatch.order` holds the labels
of next-sentence or order prediction. `checks` refuses teachers and students that do not fit.
"""
