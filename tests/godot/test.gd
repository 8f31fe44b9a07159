# Every method of the two classes in a real Godot, on the real model:
#
#     godot --headless --path PROJECT --script res://test.gd -- MODEL
#
# PROJECT has the extension. What is expected to fail does so quietly; what is printed as an error is one.
extends SceneTree

const QUESTION: Array[Dictionary] = [{"role": "user", "content": "What is the capital of France?"}]
## More than any answer takes here, so that a call is one answer.
const LONG := 600_000_000

var checks := 0
var failures := 0
var heard := ""
var reasons: Array[int] = []


func _initialize() -> void:
	var path := OS.get_cmdline_user_args()[0]
	for test: Callable in [models, opening, answers, budgets, limits, interruptions, threads, sparsity, stops, constraints,
			sampling, places, contexts, messages, untyped, lifetimes, leaks]:
		test.call(path)
	print("%d passed, %d failed" % [checks - failures, failures])
	quit(1 if failures else 0)


func check(fine: bool, what: String) -> void:
	checks += 1
	if not fine:
		failures += 1
		printerr("FAILED: ", what)


func same(found: Variant, wanted: Variant, what: String) -> void:
	check(typeof(found) == typeof(wanted) and found == wanted, "%s: %s instead of %s" % [what, found, wanted])


## What a call returns that is expected to fail.
func quietly(call: Callable) -> Variant:
	Engine.print_error_messages = false
	var result: Variant = call.call()
	Engine.print_error_messages = true
	return result


func loaded(path: String) -> RaspModel:
	var model := RaspModel.new()
	same(model.load(path), OK, "load")
	return model


func opened(path: String, options := {"context": 256}) -> RaspSession:
	var session := RaspSession.new()
	same(session.open(loaded(path), options), OK, "open")
	session.limit = 24
	return session


func listen(session: RaspSession) -> void:
	heard = ""
	reasons = []
	session.text_added.connect(func(text: String) -> void: heard += text)
	session.ended.connect(func(reason: RaspSession.Ended) -> void: reasons.append(reason))


func answer(session: RaspSession, budget := LONG) -> String:
	var text := ""
	while session.is_answering():
		text += session.step_text_within(budget)
	return text


func ask(session: RaspSession, chat: Array = QUESTION) -> String:
	same(session.prefill_chat(chat), OK, "prefill_chat")
	return answer(session)


func models(path: String) -> void:
	var model := RaspModel.new()
	same(model.is_loaded(), false, "a model that is not loaded")
	same(model.get_error_message(), "", "no error yet")
	same(quietly(model.load.bind("/nowhere/model.rasp")), ERR_FILE_CANT_OPEN, "a file that is not there")
	check(model.get_error_message().contains("/nowhere/model.rasp"), model.get_error_message())
	same(quietly(model.load.bind("res://project.godot")), ERR_FILE_CORRUPT, "a file of the project's that is no model")
	same(quietly(model.load.bind("user://model.rasp")), ERR_FILE_CANT_OPEN, "a file of the user's that is not there")
	check(not model.get_error_message().contains("user://"), model.get_error_message())
	same(quietly(model.load.bind(path, {"verfy": true})), ERR_INVALID_PARAMETER, "an option that is not known")
	check(model.get_error_message().contains("\"verfy\""), model.get_error_message())
	same(quietly(model.load.bind(path, {"verify": "yes"})), ERR_INVALID_PARAMETER, "an option of another type")
	same(quietly(model.get_info), {}, "nothing to tell")
	same(model.load(path, {"verify": true}), OK, "load and verify")
	same(model.load(path), OK, "load once more")
	same(model.is_loaded(), true, "loaded")
	var info := model.get_info()
	same(info.architecture, "llama", "architecture")
	same(info.vocab_size, 49152, "vocab_size")
	same(info.weights, "bf16", "weights")
	check(info.name.to_lower().contains("smollm2"), info.name)
	check(info.max_sparsity > 0.5 and info.file_size > info.linear_bytes, str(info))


func opening(path: String) -> void:
	var session := RaspSession.new()
	same(quietly(session.open.bind(RaspModel.new())), ERR_UNCONFIGURED, "a model that is not loaded")
	same(quietly(session.open.bind(null)), ERR_UNCONFIGURED, "no model")
	same(quietly(session.reset), ERR_UNCONFIGURED, "a session that is not open")
	same(session.get_error_message(), "the session is not open", "the words of it")
	same(quietly(session.prefill_chat.bind(QUESTION)), ERR_UNCONFIGURED, "a prompt without a session")
	same(quietly(session.get_stats), {}, "no statistics")
	same(quietly(session.get_token_count), 0, "no tokens")
	same(session.step_text_within(LONG), "", "no answer")
	same(session.finish_text(), "", "nothing to finish")
	session.cancel()
	var model := loaded(path)
	same(quietly(session.open.bind(model, {"context": -1})), ERR_INVALID_PARAMETER, "a context below zero")
	same(quietly(session.open.bind(model, {"contxt": 256})), ERR_INVALID_PARAMETER, "an option that is not known")
	same(quietly(session.open.bind(model, {"threads": 100000})) != OK, true, "too many threads")
	same(session.is_open(), false, "not open")
	same(session.open(model, {"context": 64, "threads": 2, "kv_type": RaspSession.KV_I8, &"batch": 16}), OK, "open")
	same(session.get_stats().context, 64, "context")
	same(session.open(model), OK, "open once more")
	same(session.is_open(), true, "open")
	same(session.sparsity, 0.0, "sparsity")
	session.close()
	session.close()
	same(session.is_open(), false, "closed")


func answers(path: String) -> void:
	var session := opened(path)
	listen(session)
	same(session.get_ended(), RaspSession.ENDED_NOT, "nothing has ended")
	same(session.prefill_chat(QUESTION), OK, "prefill_chat")
	same(session.is_answering(), true, "answering")
	var text := answer(session)
	check(text.contains("Paris"), text)
	same(heard, text, "the signal's text")
	same(reasons, [session.get_ended()] as Array[int], "the signal's reasons")
	same(session.step_text_within(LONG), "", "after the end")
	same(session.prefill_chat(QUESTION + [{"role": "assistant", "content": text},
			{"role": "user", "content": "And of Italy?"}] as Array[Dictionary]), OK, "a second turn")
	check(answer(session).contains("Rome"), heard)
	same(session.get_stats().decoded_tokens > 0, true, "decoded tokens")
	same(session.reset(), OK, "reset")
	same(session.prefill("The capital of France is"), OK, "prefill")
	check(answer(session).begins_with(" Paris"), heard)
	same(quietly(session.prefill.bind("")), ERR_INVALID_PARAMETER, "no text")


func budgets(path: String) -> void:
	var session := opened(path)
	var whole := ask(session)
	same(session.reset(), OK, "reset")
	same(session.prefill_chat(QUESTION), OK, "prefill_chat")
	var text := ""
	var calls := 0
	var most := 0
	var before: int = session.get_stats().units
	while session.is_answering():
		text += session.step_text_within(-1 if calls % 2 else 0)
		calls += 1
		var units: int = session.get_stats().units
		most = maxi(most, units - before)
		before = units
	same(text, whole, "the text in units of work")
	check(calls > 1000, "%d calls" % calls)
	same(most, 1, "units of a call without a budget")


func limits(path: String) -> void:
	var session := opened(path)
	var whole := ask(session)
	listen(session)
	session.limit = 3
	same(session.limit, 3, "limit")
	var text := ask(session)
	check(text != "" and whole.begins_with(text), text)
	same(reasons, [RaspSession.ENDED_LIMIT] as Array[int], "the limit's reason")
	session.limit = -5
	same(session.limit, 0, "no limit")


func interruptions(path: String) -> void:
	var session := opened(path)
	var whole := ask(session)
	listen(session)
	# In the middle of the prompt, of a token, and again before anything is computed.
	for units: int in [0, 3, 2000]:
		var wish := [{"role": "user", "content": "Tell me a story of %d wolves." % units}]
		same(session.prefill_chat(wish), OK, "prefill_chat")
		for unit in units:
			session.step_text_within(0)
		session.finish_text()
		same(session.is_answering(), false, "finished")
		same(session.get_ended(), RaspSession.ENDED_CANCELLED, "finish_text's reason")
		same(session.prefill_chat([{"role": "user", "content": "Tell me a joke."}]), OK, "prefill_chat")
		session.step_text_within(0)
		same(ask(session), whole, "the answer after an interruption")
	same(reasons.count(RaspSession.ENDED_CANCELLED), 3, "the signals of it")
	# A cancel ends the next step, and what is asked then is answered.
	same(session.prefill_chat([{"role": "user", "content": "Tell me a story."}]), OK, "prefill_chat")
	session.step_text_within(0)
	session.cancel()
	session.step_text_within(LONG)
	same(session.get_ended(), RaspSession.ENDED_CANCELLED, "cancel's reason")
	session.cancel()
	same(ask(session), whole, "after a cancel")
	same(session.prefill_chat([{"role": "user", "content": "Tell me a story."}]), OK, "prefill_chat")
	session.cancel()
	same(ask(session), whole, "after a cancel that met no step")


func threads(path: String) -> void:
	var session := opened(path, {"context": 1024})
	session.limit = 0
	var sampled := session.set_sampling({"temperature": 1.5, "seed": 3})
	same(sampled, OK, "set_sampling")
	same(session.prefill_chat([{"role": "user", "content": "Tell me a long story."}]), OK, "prefill_chat")
	var thread := Thread.new()
	thread.start(session.step_text_within.bind(LONG))
	var refused := OK
	while refused == OK and session.is_answering():
		OS.delay_msec(1)
		refused = quietly(session.set_stop.bind(PackedStringArray()))
	same(refused, ERR_BUSY, "a call that meets another one")
	session.cancel()
	thread.wait_to_finish()
	same(session.get_ended(), RaspSession.ENDED_CANCELLED, "a cancel from another thread")
	same(session.set_sampling({}), OK, "greedy again")
	session.limit = 24
	check(ask(session).contains("Paris"), "after it")


func sparsity(path: String) -> void:
	var session := opened(path)
	same(session.prefill_chat(QUESTION), OK, "prefill_chat")
	session.step_text_within(0)
	# In the middle of a token it waits for the end of that.
	session.sparsity = 0.25
	same(session.sparsity, 0.25, "sparsity")
	check(answer(session).length() > 8, "a sparse answer")
	same(session.get_stats().sparsity, 0.25, "sparsity of the last token")
	check(session.get_stats().kept < 1, "what was kept")
	for wrong: float in [-0.1, 1.0, NAN]:
		same(quietly(session.set_sparsity.bind(wrong)), ERR_PARAMETER_RANGE_ERROR, "a sparsity of %s" % wrong)
	same(session.sparsity, 0.25, "sparsity as it was")


func stops(path: String) -> void:
	var session := opened(path)
	listen(session)
	same(session.set_stop(["Paris", "Rome"]), OK, "set_stop")
	var text := ask(session)
	check(text != "" and not text.contains("Paris"), text)
	same(reasons, [RaspSession.ENDED_STOP] as Array[int], "a stop string's reason")
	var many := PackedStringArray()
	many.resize(17)
	many.fill("stop")
	same(quietly(session.set_stop.bind(many)), ERR_PARAMETER_RANGE_ERROR, "too many")
	same(session.set_stop([]), OK, "none")


func constraints(path: String) -> void:
	var session := opened(path)
	same(session.set_constraint(RaspSession.CONSTRAINT_REGEX, "Yes|No"), OK, "an expression")
	check(ask(session) in ["Yes", "No"], "an answer that obeys")
	var schema := JSON.stringify({"type": "object", "additionalProperties": false, "required": ["mood"],
			"properties": {"mood": {"enum": ["calm", "angry"]}}})
	same(session.set_constraint(RaspSession.CONSTRAINT_JSON_SCHEMA, schema), OK, "a schema")
	var read: Variant = JSON.parse_string(ask(session))
	check(read is Dictionary and read.mood in ["calm", "angry"], str(read))
	same(quietly(session.set_constraint.bind(RaspSession.CONSTRAINT_REGEX, "(")), ERR_INVALID_PARAMETER, "a wrong one")
	same(quietly(session.set_constraint.bind(-1, "")), ERR_INVALID_PARAMETER, "a kind that is none")
	same(session.clear_constraint(), OK, "clear_constraint")
	check(ask(session).contains("Paris"), "a free answer")


func sampling(path: String) -> void:
	var session := opened(path)
	var settings := {"temperature": 1, "top_k": 40, &"seed": 7, "min_p": 0.01}
	same(session.set_sampling(settings), OK, "set_sampling")
	var text := ask(session)
	same(session.reset(), OK, "reset")
	same(session.set_sampling(settings), OK, "set_sampling")
	same(ask(session), text, "the same seed")
	same(quietly(session.set_sampling.bind({"temprature": 1.0})), ERR_INVALID_PARAMETER, "a key that is not known")
	same(quietly(session.set_sampling.bind({"top_k": "many"})), ERR_INVALID_PARAMETER, "a value of another type")
	same(quietly(session.set_sampling.bind({"temperature": -1.0})), ERR_INVALID_PARAMETER, "a value out of range")
	check(session.get_error_message().contains("temperature"), session.get_error_message())


func places(path: String) -> void:
	var session := opened(path)
	same(session.get_token_count(), 0, "no tokens")
	same(session.prefill("The capital of France is"), OK, "prefill")
	answer(session)
	check(session.get_token_count() > 20, "%d tokens" % session.get_token_count())
	same(quietly(session.rewind.bind(1000)), ERR_PARAMETER_RANGE_ERROR, "more tokens than there are")
	same(quietly(session.rewind.bind(-1)), ERR_PARAMETER_RANGE_ERROR, "fewer than none")
	same(session.rewind(4), OK, "rewind")
	same(session.get_token_count(), 4, "tokens after it")
	same(session.prefill(" Italy is"), OK, "another end")
	session.step_text_within(0)
	same(session.rewind(0), OK, "rewind in the middle of a prompt")
	same(session.get_token_count(), 0, "no tokens again")
	same(session.reset(), OK, "reset")


func contexts(path: String) -> void:
	var session := opened(path, {"context": 48})
	session.limit = 0
	listen(session)
	ask(session)
	same(reasons.size(), 1, "an end")
	var long := QUESTION.duplicate(true)
	long[0].content = "word ".repeat(100)
	same(quietly(session.prefill_chat.bind(long)), ERR_CANT_ACQUIRE_RESOURCE, "a full context")
	same(session.is_answering(), false, "no answer")
	same(session.reset(), OK, "reset")
	same(session.prefill("word ".repeat(20)), OK, "prefill")
	reasons = []
	answer(session)
	same(reasons, [RaspSession.ENDED_CONTEXT] as Array[int], "a full context's reason")


func messages(path: String) -> void:
	var session := opened(path)
	same(quietly(session.prefill_chat.bind(["hello"])), ERR_INVALID_PARAMETER, "a message that is no Dictionary")
	same(quietly(session.prefill_chat.bind([{"content": "hello"}])), ERR_INVALID_PARAMETER, "a message without a role")
	same(quietly(session.prefill_chat.bind([{"role": 3}])), ERR_INVALID_PARAMETER, "a role that is no String")
	same(quietly(session.prefill_chat.bind([{"rolle": "user"}])), ERR_INVALID_PARAMETER, "a key that is not known")
	same(quietly(session.prefill_chat.bind(QUESTION, {"variables": "{"})), ERR_INVALID_PARAMETER, "no JSON")
	same(session.is_answering(), false, "no answer")
	same(session.prefill_chat(QUESTION, {"variables": "{\"tools\": []}", "add_generation_prompt": true, "time": 0}), OK,
			"options of a chat")
	check(answer(session).contains("Paris"), "an answer")
	# Umlauts, a letter beyond 16 bits and a text of many pieces come and go whole.
	var crab := {"role": "user", "content": "Grüße, 🦀! ".repeat(8), "fields": "{\"name\": \"Ä\"}"}
	same(session.prefill_chat([crab]), OK, "UTF-8")
	check(answer(session) != "", "an answer to it")


## Calls of a script that knows no types, which take the other way.
func untyped(path: String) -> void:
	var model: Variant = ClassDB.instantiate(&"RaspModel")
	var session: Variant = ClassDB.instantiate(&"RaspSession")
	same(model.load(path), OK, "load")
	same(model.call(&"get_info").architecture, "llama", "get_info")
	same(quietly(session.open.bind(RefCounted.new())), ERR_UNCONFIGURED, "an object of another class")
	same(session.open(model), OK, "open")
	session.set_limit(8.0)
	same(session.get("limit"), 8, "limit")
	same(session.callv(&"prefill_chat", [QUESTION]), OK, "prefill_chat")
	var text := ""
	while session.call(&"is_answering"):
		text += session.call(&"step_text_within", LONG)
	check(text.length() > 8, text)
	same(quietly(session.callv.bind(&"rewind", [])), null, "too few arguments")
	same(quietly(session.callv.bind(&"rewind", [1, 2])), null, "too many arguments")
	same(quietly(session.callv.bind(&"rewind", ["one"])), null, "an argument of another type")
	same(session.callv(&"rewind", [1]), OK, "rewind")
	same(ClassDB.class_get_enum_constants(&"RaspSession", &"Ended").size(), 7, "reasons")
	same(ClassDB.class_get_method_argument_count(&"RaspSession", &"open"), 2, "arguments")


func lifetimes(path: String) -> void:
	# A session outlives its model's object, and may end in a handler of its own.
	var model := loaded(path)
	var session := RaspSession.new()
	same(session.open(model, {"context": 128}), OK, "open")
	var seen := [weakref(model), weakref(session)]
	model = null
	same(seen[0].get_ref(), null, "the model's object")
	session.limit = 4
	var holder := [session]
	session.ended.connect(func(_reason: int) -> void: holder.clear())
	same(session.prefill_chat(QUESTION), OK, "prefill_chat")
	session = null
	while holder:
		holder[0].step_text_within(LONG)
	same(seen[1].get_ref(), null, "the session's object")
	# And in the middle of an answer.
	session = opened(path)
	same(session.prefill_chat(QUESTION), OK, "prefill_chat")
	session.step_text_within(1000)
	seen[1] = weakref(session)
	session = null
	same(seen[1].get_ref(), null, "a session that is let go")


## One round of everything that makes values of Godot's.
func round_of_all(path: String) -> void:
	var model := RaspModel.new()
	model.load(path, {"verify": false})
	model.get_info()
	var session := RaspSession.new()
	session.open(model, {"context": 64, &"threads": 1})
	session.text_added.connect(func(_text: String) -> void: pass)
	session.set_stop(["one", "two"])
	session.set_sampling({"temperature": 0.0})
	session.limit = 2
	session.prefill_chat(QUESTION, {"variables": "{}"})
	answer(session)
	session.call(&"prefill", "One two")
	session.call(&"step_text_within", 0)
	session.call(&"finish_text")
	session.get_stats()
	Engine.print_error_messages = false
	session.rewind(99)
	session.set_sampling({"x": 1})
	session.prefill_chat([{"role": 1}])
	session.callv(&"open", [null, {}])
	Engine.print_error_messages = true
	session.get_error_message()


func leaks(path: String) -> void:
	for warm_up in 3:
		round_of_all(path)
	var objects := Performance.get_monitor(Performance.OBJECT_COUNT)
	var memory := OS.get_static_memory_usage()
	for repeated in 20:
		round_of_all(path)
	same(Performance.get_monitor(Performance.OBJECT_COUNT), objects, "objects")
	check(OS.get_static_memory_usage() - memory < 256, "%d bytes of Godot's" % (OS.get_static_memory_usage() - memory))
