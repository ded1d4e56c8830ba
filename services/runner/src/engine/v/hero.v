module hero

import json

#include <unistd.h>

struct Document {
	job_id     string
	caller_id  string
	context_id string
	args       map[string]string
}

fn C.write(int, voidptr, usize) int
fn C.pread(int, voidptr, usize, i64) int

// args are the job's arguments: its env_vars, each a text.
pub fn args() map[string]string {
	return document().args
}

// log writes text to the job's log, beside what is printed.
pub fn log(text string) {
	tell('{"log":' + json.encode(text) + '}')
}

// progress tells how far the job is: a fraction from 0 to 1, and a few words.
pub fn progress(fraction f64, text string) {
	tell('{"progress":{"fraction":' + fraction.str() + ',"text":' + json.encode(text) + '}}')
}

// result gives the job a result beside its output: JSON, as json.encode makes it. The last one counts.
pub fn result(value string) {
	tell('{"result":' + value + '}')
}

fn document() Document {
	mut text := []byte{}
	mut piece := []byte{len: 65536}
	for {
		read := C.pread(4, piece.data, usize(piece.len), i64(text.len))
		if read <= 0 {
			break
		}
		text << piece[..read]
	}
	source := text.bytestr()
	return json.decode(Document, source) or { Document{} }
}

fn tell(message string) {
	line := message.replace('\n', ' ') + '\n'
	mut at := 0
	for at < line.len {
		written := unsafe { C.write(3, line.str + at, usize(line.len - at)) }
		if written <= 0 {
			return
		}
		at += int(written)
	}
}
