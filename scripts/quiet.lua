-- quiet: keeps noise away from the connectors, and marks what is worth sorting.
-- Status updates of your contacts are stored, but go to no connector. Messages get
-- tags: "group" in groups, "media" with a file, "unknown" when this version of
-- Wildcat does not know the kind of message. Nothing is answered.

wildcat.on("message", { chat = "status@broadcast", from_me = "any" }, function(msg)
  msg:drop()
end)

wildcat.on("message", { kind = "unknown", from_me = "any" }, function(msg)
  msg:tag("unknown")
end)

wildcat.on("message", { group = true, from_me = "any" }, function(msg)
  msg:tag("group")
end)

wildcat.on("message", { has_media = true, from_me = "any" }, function(msg)
  msg:tag("media")
end)
