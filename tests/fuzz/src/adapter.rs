//! Adapters' files.

use crate::Target;
use crate::base::{error, load, read, sound};
use crate::format::{parts, put_together};
use rasp::capi::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

/// Input: the JSON of a packed adapter's header.
pub struct Adapter {
    model: *mut rasp_model,
    header: Vec<u8>,
    data: Vec<u8>,
}

impl Adapter {
    pub fn new() -> Adapter {
        // The model outlives this.
        let model = load(Vec::leak(read("bytes.rasp")), false);
        assert!(!model.is_null());
        let (header, data) = parts(&read("tiny.rasp-adapter"));
        Adapter { model, header, data }
    }
}

impl Target for Adapter {
    fn seeds(&self) -> Vec<Vec<u8>> {
        // Without its checksums, which no change would pass.
        let text = String::from_utf8(self.header.clone()).expect("JSON");
        vec![text.replace("rasp.xxh64", "rasp.none").into_bytes(), self.header.clone()]
    }

    fn run(&mut self, input: &[u8]) {
        let file = put_together(input, &self.data);
        let (bytes, mut error, mut adapter) = (file.get(), error(), null_mut());
        // SAFETY: places of our own; the file stays until adapter and session are gone.
        unsafe {
            let data = bytes.as_ptr().cast::<c_void>();
            let status = rasp_adapter_load_bytes(self.model, data, bytes.len(), &mut adapter, &mut error);
            assert_eq!(sound(status, &error) == 0, !adapter.is_null());
            if adapter.is_null() {
                return;
            }
            let mut info: rasp_adapter_info = std::mem::zeroed();
            rasp_adapter_info_init(&mut info);
            assert_eq!(rasp_adapter_get_info(adapter, &mut info, &mut error), 0);
            let mut options: rasp_session_options = std::mem::zeroed();
            rasp_session_options_init_2(&mut options);
            (options.context, options.batch, options.adapter_rank) = (16, 3, info.rank);
            let mut session = null_mut();
            assert_eq!(rasp_session_open(self.model, &options, &mut session, &mut error), 0);
            let list = [adapter.cast_const()];
            assert_eq!(rasp_session_set_adapters(session, list.as_ptr(), null(), 1, &mut error), 0);
            rasp_adapter_free(adapter);
            let mut token = 0;
            // Its numbers may be so large that logits are none.
            if sound(rasp_prefill(session, [1, 2, 3, 4].as_ptr(), 4, &mut error), &error) == 0 {
                sound(rasp_step(session, &mut token, &mut error), &error);
                sound(rasp_step(session, &mut token, &mut error), &error);
            }
            rasp_session_close(session);
        }
    }
}
