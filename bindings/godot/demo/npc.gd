# A character who answers while the game goes on: the session gets a few milliseconds of every frame.
#
#     godot --path demo                                  a window; what is typed is said to the character
#     godot --headless --path demo -- MODEL QUESTION     prints the answer, and what frames took of it
extends Control

## What the model is told of the character.
@export_multiline var character := "You are an innkeeper."
## Microseconds that the answer may take of a frame, which has 16,667 at 60 frames a second.
@export var budget_usec := 4000
## Tokens of an answer, at most.
@export var limit := 64
## How much of the weights is left unread; 0 is dense.
@export_range(0, 0.7) var sparsity := 0.3
## Tokens of the conversation, at most: what the session's memory grows with.
@export var context := 1024

var model := RaspModel.new()
var session := RaspSession.new()
var messages: Array[Dictionary] = []
var reply := ""
# What the frames took that computed, for who measures.
var frames := 0
var late_frames := 0
var longest_usec := 0

@onready var said: RichTextLabel = $Column/Said
@onready var line: LineEdit = $Column/Line
@onready var wheel: Polygon2D = $Wheel


func _ready() -> void:
	var arguments := OS.get_cmdline_user_args()
	session.text_added.connect(_on_text_added)
	session.ended.connect(_on_ended)
	if model.load(arguments[0] if arguments else model_path()) != OK \
			or session.open(model, {"context": context}) != OK:
		give_up()
		return
	session.sparsity = minf(sparsity, model.get_info().max_sparsity)
	session.limit = limit
	messages.append({"role": "system", "content": character})
	if arguments.size() > 1:
		ask(arguments[1])
	line.grab_focus()


## Beside the exported game, since the system maps the file and cannot do that inside a .pck; else in the project.
static func model_path() -> String:
	if OS.has_feature("template"):
		return OS.get_executable_path().get_base_dir().path_join("model.rasp")
	return "res://model.rasp"


func _process(delta: float) -> void:
	wheel.rotation += delta
	if session.is_answering():
		var start := Time.get_ticks_usec()
		session.step_text_within(budget_usec)
		count_frame(Time.get_ticks_usec() - start)


## Says something to the character, who may be in the middle of an answer.
func ask(question: String) -> void:
	session.finish_text()
	line.clear()
	say("\n> %s\n" % question)
	messages.append({"role": "user", "content": question})
	# The whole conversation each time: what the session holds of it already does not pass again.
	var error := session.prefill_chat(messages)
	while error == ERR_CANT_ACQUIRE_RESOURCE and messages.size() > 2:
		# The context is full: the oldest words after those about the character are forgotten.
		messages.remove_at(1)
		error = session.prefill_chat(messages)
	if error != OK:
		give_up()


func _on_text_added(text: String) -> void:
	reply += text
	say(text)


func _on_ended(reason: RaspSession.Ended) -> void:
	if reply != "":
		messages.append({"role": "assistant", "content": reply})
	reply = ""
	if reason == RaspSession.ENDED_ERROR:
		give_up()
	elif DisplayServer.get_name() == "headless":
		print("\n%d frames; more than 1 ms over their %d us were %d, the longest took %d us"
				% [frames, budget_usec, late_frames, longest_usec])
		get_tree().quit()


func count_frame(usec: int) -> void:
	frames += 1
	late_frames += int(usec > budget_usec + 1000)
	longest_usec = maxi(longest_usec, usec)


func say(text: String) -> void:
	said.add_text(text)
	if DisplayServer.get_name() == "headless":
		printraw(text)


func give_up() -> void:
	var message := model.get_error_message() + session.get_error_message()
	said.add_text("\n" + message)
	set_process(false)
	if DisplayServer.get_name() == "headless":
		get_tree().quit(1)
