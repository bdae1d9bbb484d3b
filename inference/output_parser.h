// OutputParser: what a model wrote, told apart: what it thought, what it says, and the tools that it calls.
//
// Strict: a call is given when it is whole and sound (a name that it may call, arguments that are one JSON object, each marker where its
// style has it). All else is text, to the byte: nothing is ever lost, and what comes out does not depend on how the output was cut. Held
// back until then: what may still become a call or a marker, at most kCallBytesMax. Llama's calls have no marker: an object may become one
// while its first member is the name of a function that may be called, or the parameters.
//
//   OutputParser parser(syntax);
//   parser.Push(piece, parts) …; parser.Finish(parts);
//
// Dropped are the markers, and the white space beside them. One choice; one thread at a time. Cost: linear in the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inference/types.h"

namespace tollgate::inference {

struct OutputSyntax {
  ToolStyle tools = ToolStyle::kNone;  // kNone: calls are text.
  std::vector<std::string> names{};    // Of the functions that may be called.
  bool thinks = false;                 // A thought may come first.
  bool in_thought = false;             // The output begins within it.

  bool plain() const { return tools == ToolStyle::kNone && !thinks; }
};

// In the order of the output; every byte of it belongs to one part.
struct OutputPart {
  enum Kind { kText, kThought, kCall, kNothing } kind = kText;
  std::string text{};        // Of a call: its arguments as the model wrote them.
  std::string name{};        // Of a call.
  std::int64_t raw_end = 0;  // Bytes of the output up to its end. Of kText and kThought: it begins text.size() before.
};

class OutputParser {
 public:
  static constexpr std::size_t kCallBytesMax = 256 << 10;  // From its marker to its end; what is longer is text.

  explicit OutputParser(OutputSyntax syntax);

  // More of the output: whole code points.
  void Push(std::string_view raw, std::vector<OutputPart>& parts);
  // Its end: what was held and became no call is text.
  void Finish(std::vector<OutputPart>& parts);

  // Of a call that has begun and is not over, what stands behind its marker: Finish would give it as text. Empty: none is.
  std::string_view open_call() const;
  bool in_thought() const { return state_ == State::kThought; }
  bool may_think() const { return state_ == State::kStart || in_thought(); }

 private:
  enum class State { kStart, kThought, kAnswer, kOpen, kValue, kClose };
  enum class Step { kGoOn, kMore };  // kMore: no more can be told from what is there.
  enum class Met { kYes, kNo, kMore };

  void Run(std::vector<OutputPart>& parts);
  Step Start(std::vector<OutputPart>& parts);
  Step Thought(std::vector<OutputPart>& parts);
  Step Answer(std::vector<OutputPart>& parts);
  Step Open(std::vector<OutputPart>& parts);
  Step OpenDeepSeek(std::vector<OutputPart>& parts);
  Step OpenValue();  // From here on.
  Step Value(std::vector<OutputPart>& parts);
  bool MayCall(char next);
  Step Close(std::vector<OutputPart>& parts);
  Step NoCall(std::vector<OutputPart>& parts);
  Step Done(std::vector<OutputPart>& parts);
  bool TakeCalls(std::string_view value);

  std::string_view Marker() const;  // That begins calls; of Llama: none.
  Met Expect(std::string_view literal);
  void SkipWhite();
  void Give(OutputPart::Kind kind, std::size_t bytes, std::vector<OutputPart>& parts);

  OutputSyntax syntax_;
  State state_;
  std::string held_;        // Not given yet.
  std::int64_t given_ = 0;  // Bytes of the output before it.
  std::size_t marker_ = 0;  // Where in held_ the call begins that is being read,
  std::size_t at_ = 0;      // how far it is read,
  std::size_t value_ = 0;   // and where its JSON begins.
  std::string name_;        // DeepSeek's stands outside of the JSON.
  std::string head_;        // Of Llama's object, up to its first value, without white space,
  bool head_known_ = true;  // until that tells that it may be a call.
  int depth_ = 0;           // Of brackets in the JSON so far,
  bool in_string_ = false, escaped_ = false;
  bool white_ = false;    // White space comes before what is said: dropped.
  int no_calls_ = 0;      // What looked like a call and was none.
  bool may_call_ = true;  // Llama's calls come first or not at all.
  bool at_end_ = false;
  std::vector<OutputPart> calls_;
};

}  // namespace tollgate::inference
