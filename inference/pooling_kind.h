// What a model is for beside chats.
#pragma once

#include <optional>
#include <string_view>

namespace tollgate::inference {

// What a model makes of a text beside chatting about it: how the vectors of its tokens become one, or that a classifier of its own judges
// it.
enum class Pooling {
  kNone,    // It chats.
  kAsFile,  // What its file says. Of options alone: a loaded model has one of the others.
  kMean,    // The mean of all.
  kCls,     // The first one.
  kLast,    // The last one.
  kRank,    // None: how well a document answers a query.
};
std::string_view Name(Pooling pooling);                   // "none", "model", "mean", "cls", "last", "rank".
std::optional<Pooling> PoolingOf(std::string_view name);  // "" is kNone, too; nullopt: there is no such.

}  // namespace tollgate::inference
