// LoRA adapters.
import { Handle, call, known } from './calls.js';
import { fields, made } from './native.js';
import { load } from './source.js';

const LOAD = ['rasp_adapter_load', 'rasp_adapter_load_bytes', 'rasp_adapter_load_fd'];

export class Adapter extends Handle {
    constructor(model, source, options = {}) {
        const { handle, data } = load(source, known(options, 'offset', 'length'), LOAD, [model.handle], []);
        super(handle, 'rasp_adapter_free', data);
    }

    get info() {
        const info = made('adapter_info');
        call('rasp_adapter_get_info', this.handle, info);
        return fields('adapter_info', info);
    }
}
