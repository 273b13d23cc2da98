//! The pool's promises: bounded queues, wakes, and no leftovers.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use weir_source::MediaTime;

use super::*;
use crate::transcode::{Bitrates, Pool};

struct Bell(SyncSender<()>);

impl Wake for Bell {
    fn wake(&self) {
        match self.0.try_send(()) {
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

fn bell() -> (Arc<Bell>, Receiver<()>) {
    let (sender, receiver) = sync_channel(1);
    (Arc::new(Bell(sender)), receiver)
}

/// A 20 ms Opus packet of silence (a full-band CELT frame of two bytes is decoded as such).
fn packet(index: u64) -> Coded {
    Coded {
        time: MediaTime::from_millis(1_000 + 20 * index as i64),
        timestamp: Some(index * 960),
        data: Bytes::from_static(&[0xfc, 0xff, 0xfe]),
    }
}

#[test]
fn many_streams_share_the_threads_and_each_gets_its_own_sound() {
    let pool = Pool::new(2);
    let (wake, rung) = bell();
    let streams: Vec<_> = (0..6).map(|_| pool.opus_to_aac(Bitrates::default(), wake.clone()).expect("opens")).collect();
    assert_eq!(streams[0].config()[..2], [0x11, 0x90]);
    for index in 0..100 {
        streams.iter().for_each(|stream| stream.submit(packet(index)));
    }
    let mut made = vec![Vec::new(); streams.len()];
    while made.iter().any(|frames| frames.len() < 91) {
        rung.recv().expect("the pool is there");
        streams.iter().zip(&mut made).for_each(|(stream, made)| stream.take(made));
    }
    assert!(made.iter().all(|frames| frames == &made[0]));
    assert_eq!(pool.stats().jobs.load(Ordering::Relaxed), 6);
    drop(streams);
    assert_eq!(pool.stats().jobs.load(Ordering::Relaxed), 0);
}

#[test]
fn an_overflowing_queue_loses_its_oldest_and_counts() {
    let queue = Arc::new(Queue::default());
    let recipe = Recipe::OpusToAac(Bitrates::default().aac);
    let chain = recipe.build().expect("opens");
    let stream = Transcoder::new(Arc::clone(&queue), recipe, chain, bell().0);
    for index in 0..INPUT_MAX as u64 + 7 {
        stream.submit(packet(index));
    }
    assert_eq!(queue.stats.input_dropped.load(Ordering::Relaxed), 7);
    assert_eq!(stream.job.input.lock().frames[0], packet(7));
    stream.job.hand_over((0..OUTPUT_MAX as u64 + 3).map(packet).collect(), &queue);
    assert_eq!(queue.stats.output_dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn what_cannot_be_decoded_is_refused_at_once() {
    let pool = Pool::new(1);
    assert!(pool.aac_to_opus(Bytes::from_static(&[1]), Bitrates::default(), bell().0).is_err());
    assert_eq!(pool.stats().jobs.load(Ordering::Relaxed), 0);
}

#[test]
fn a_stream_is_given_up_only_after_several_panics() {
    let queue = Arc::new(Queue::default());
    let recipe = Recipe::OpusToAac(Bitrates::default().aac);
    let stream = Transcoder::new(Arc::clone(&queue), recipe.clone(), recipe.build().expect("opens"), bell().0);
    assert!(stream.job.rebuild(PANICS_MAX).is_some());
    assert!(stream.job.rebuild(PANICS_MAX + 1).is_none());
}
