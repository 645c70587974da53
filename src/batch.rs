//! Answers many single questions with few batches: the first question starts a batch at once, and whatever is asked while
//! it is under way forms the next one.
//!
//! No timer: a lone question waits for nobody, and under load the batches grow by themselves. This is what lets each delivery
//! and each look at a badge be written as one straight line although its SQL and its LivePerson calls serve a hundred at a time.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};

use crate::trace::{self, TraceParent};

/// The asking side. Clones ask the same batches. Dropping all of them ends the task behind.
pub struct Batcher<Q, A> {
    questions: mpsc::Sender<Question<Q, A>>,
}

/// A question, where its answer goes, and the trace that it belongs to.
type Question<Q, A> = (Q, oneshot::Sender<A>, Option<TraceParent>);

impl<Q, A> Clone for Batcher<Q, A> {
    fn clone(&self) -> Self {
        Self {
            questions: self.questions.clone(),
        }
    }
}

/// The batch ended without an answer to this question: its task panicked or was stopped.
#[derive(Debug, thiserror::Error)]
#[error("the batch ended without an answer")]
pub struct NoAnswer;

impl<Q: Send + 'static, A: Send + 'static> Batcher<Q, A> {
    /// `answer` gets at most `most` questions and returns one answer for each, in order. Up to `lanes` batches run at a time.
    ///
    /// An asker may go away (its job was aborted). Its question is then not asked any more; if it was under way already, its
    /// answer is handed to `returned`, because an answer may be a commitment.
    pub fn new<F, Fut>(
        most: usize,
        lanes: usize,
        answer: F,
        returned: impl Fn(A) + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Fn(Vec<Q>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Vec<A>> + Send + 'static,
    {
        let (questions, mut inbox) = mpsc::channel::<Question<Q, A>>(most);
        tokio::spawn(async move {
            let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(lanes));
            let mut batch = Vec::with_capacity(most);
            loop {
                let Ok(slot) = slots.clone().acquire_owned().await else {
                    return;
                };
                if inbox.recv_many(&mut batch, most).await == 0 {
                    return;
                }
                batch.retain(|(_, asker, _)| !asker.is_closed());
                // It serves several: the trace of the first has it.
                let Some(trace) = batch.first().map(|(_, _, trace)| *trace) else {
                    continue;
                };
                let questions = batch.drain(..).map(|(asked, asker, _)| (asked, asker));
                let (asked, askers): (Vec<_>, Vec<_>) = questions.unzip();
                let answers = trace::within(trace, answer(asked));
                let returned = returned.clone();
                tokio::spawn(async move {
                    for (asker, answer) in askers.into_iter().zip(answers.await) {
                        if let Err(unwanted) = asker.send(answer) {
                            returned(unwanted);
                        }
                    }
                    drop(slot);
                });
            }
        });
        Self { questions }
    }

    /// Asks one question and waits for its answer.
    pub async fn ask(&self, question: Q) -> Result<A, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        self.questions
            .send((question, answer, trace::current()))
            .await
            .map_err(|_| NoAnswer)?;
        answered.await.map_err(|_| NoAnswer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn each_question_gets_its_own_answer_from_few_batches() {
        let batches = Arc::new(AtomicUsize::new(0));
        let counted = batches.clone();
        let doubler = Batcher::new(
            50,
            1,
            move |numbers: Vec<u32>| {
                counted.fetch_add(1, Ordering::SeqCst);
                async move { numbers.into_iter().map(|n| n * 2).collect() }
            },
            drop,
        );
        let answers = join_all((0..200).map(|n| doubler.ask(n))).await;
        assert!(
            answers
                .into_iter()
                .enumerate()
                .all(|(n, a)| a.ok() == u32::try_from(n * 2).ok())
        );
        let batches = batches.load(Ordering::SeqCst);
        assert!(
            (4..=20).contains(&batches),
            "{batches} batches for 200 questions"
        );
    }

    #[tokio::test]
    async fn a_panicking_batch_fails_its_own_questions_only() {
        let picky = Batcher::new(
            1,
            1,
            |n: Vec<u32>| async move {
                assert_ne!(n[0], 1, "not that one");
                n
            },
            drop,
        );
        assert!(picky.ask(1).await.is_err());
        assert_eq!(picky.ask(2).await.ok(), Some(2));
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waits_for_is_handed_back() {
        let (release, released) = tokio::sync::watch::channel(false);
        let (returned, mut unwanted) = mpsc::unbounded_channel();
        let slow = Batcher::new(
            10,
            1,
            move |n: Vec<u32>| {
                let mut released = released.clone();
                async move {
                    let _ = released.wait_for(|go| *go).await;
                    n
                }
            },
            move |n| {
                let _ = returned.send(n);
            },
        );
        let asker = tokio::spawn({
            let slow = slow.clone();
            async move { slow.ask(7).await }
        });
        while slow.questions.capacity() < 10 || release.receiver_count() < 2 {
            tokio::task::yield_now().await;
        }
        asker.abort();
        let _ = asker.await;
        release.send_replace(true);
        assert_eq!(unwanted.recv().await, Some(7));
    }
}
