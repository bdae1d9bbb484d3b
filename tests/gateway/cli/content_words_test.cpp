// What is sealed is printed, whatever it is: whoever approves a prompt reads all that they approve.
#include <memory>
#include <set>
#include <string>

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/cli/content_words.h"
#include "gateway/cli/record_words.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

namespace {

using Proto = google::protobuf::Message;
using ProtoField = google::protobuf::FieldDescriptor;

bool Opens(const ProtoField* field) {
  return field->cpp_type() == ProtoField::CPPTYPE_MESSAGE && field->message_type() != v1::ReleasedToken::descriptor();
}

// One of everything, with something else in each.
void Fill(Proto* message, int& next) {
  const auto* reflection = message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const ProtoField* field = message->GetDescriptor()->field(i);
    const int value = ++next;
    const auto set = [&](auto one, auto more, auto what) {
      field->is_repeated() ? (reflection->*more)(message, field, what) : (reflection->*one)(message, field, what);
    };
    using R = google::protobuf::Reflection;
    switch (field->cpp_type()) {
      case ProtoField::CPPTYPE_MESSAGE: {
        Proto* its = field->is_repeated() ? reflection->AddMessage(message, field) : reflection->MutableMessage(message, field);
        if (Opens(field)) Fill(its, next);
        break;
      }
      case ProtoField::CPPTYPE_STRING: set(&R::SetString, &R::AddString, fmt::format("text{}", value)); break;
      case ProtoField::CPPTYPE_INT32: set(&R::SetInt32, &R::AddInt32, value); break;
      case ProtoField::CPPTYPE_INT64: set(&R::SetInt64, &R::AddInt64, std::int64_t{value}); break;
      case ProtoField::CPPTYPE_BOOL: set(&R::SetBool, &R::AddBool, true); break;
      case ProtoField::CPPTYPE_ENUM: set(&R::SetEnumValue, &R::AddEnumValue, 1); break;
      default: FAIL("a field of another type: " << field->full_name());
    }
  }
}

// The fields without which the text is the same.
void Unseen(const v1::StoredRecord& whole, Proto* message, const std::string& path, std::set<std::string>& unseen) {
  const std::string text = ContentText(whole);
  const auto* reflection = message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const ProtoField* field = message->GetDescriptor()->field(i);
    const std::string its = path + (path.empty() ? "" : ".") + std::string(field->name());
    if (Opens(field)) {
      Unseen(whole,
             field->is_repeated() ? reflection->MutableRepeatedMessage(message, field, 0) : reflection->MutableMessage(message, field), its,
             unseen);
      continue;
    }
    const std::unique_ptr<Proto> kept(message->New());
    kept->CopyFrom(*message);
    reflection->ClearField(message, field);
    if (ContentText(whole) == text) unseen.insert(its);
    message->CopyFrom(*kept);
  }
}

}  // namespace

TEST_CASE("Each field of what is sealed is seen in what is printed") {
  v1::StoredRecord stored;
  int next = 0;
  Fill(stored.mutable_content(), next);
  std::set<std::string> unseen;
  Unseen(stored, stored.mutable_content(), "", unseen);
  // Calls of a prompt stand in their order.
  CHECK(unseen == std::set<std::string>{"caller_system.tool_calls.index", "prompt.tool_calls.index", "prompt_used.tool_calls.index"});
}

TEST_CASE("What is sealed of a prompt is printed with names, calls and what was put before it, and nothing of it passes for a title") {
  v1::StoredRecord stored;
  v1::ChatMessage& asked = *stored.mutable_content()->add_prompt();
  asked.set_role(v1::ROLE_USER);
  asked.set_name("ann");
  asked.add_parts("hi\n    text released\nno");
  v1::ChatMessage& answer = *stored.mutable_content()->add_prompt();
  answer.set_role(v1::ROLE_TOOL);
  answer.set_tool_call_id("call_1");
  answer.add_parts("4");
  v1::ChatMessage& own = *stored.mutable_content()->add_caller_system();
  own.set_role(v1::ROLE_SYSTEM);
  own.add_parts("Be brief.");
  CHECK(ContentText(stored) ==
        "    prompt as it came\n"
        "      | user (ann): hi\n"
        "      |     text released\n"
        "      | no\n"
        "      | tool, answers call_1: 4\n"
        "    the caller's own system messages, as they came\n"
        "      | system: Be brief.\n");
  stored.clear_content();
  stored.set_content_missing("its key was destroyed");
  CHECK_THAT(ContentText(stored), ContainsSubstring("content: its key was destroyed"));
}

TEST_CASE("Neither a title nor what is shown of a record moves the cursor or turns the text around") {
  v1::StoredRecord stored;
  v1::Tool& tool = *stored.mutable_content()->add_tools();
  tool.set_name("find\u202e\u009b2J");
  tool.set_description("of\u2066 all");
  CHECK(ContentText(stored) == "    tool find??2J\n      | of? all\n      | \n");
  v1::Record record;
  record.mutable_deny()->set_model_requested("sm\u009b2Jol\x1b\n    ended: well");
  CHECK_THAT(Details(record), ContainsSubstring("    sm?2Jol??    ended: well,"));
  v1::Record asked;
  asked.mutable_request()->set_client_request_id("x\n    under approval 7");
  CHECK_THAT(Details(asked), ContainsSubstring("client's id x?    under approval 7\n"));
}
