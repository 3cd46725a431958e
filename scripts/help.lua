-- help: answers keywords with fixed texts. Change the table to your own.
-- It answers in private chats only, and only when the whole message is a keyword, so
-- that nobody is answered who did not ask.

local prefix = "!"

local answers = {
  help  = "Send one of these words:\n!help - this list\n!hours - when we are open\n!about - what this is",
  about = "You are talking to an automatic assistant. A person reads along.",
}

-- Opening hours: for each weekday (1 is Sunday) the first and last hour, or nothing.
local zone = "UTC"
local open = {
  [2] = { 9, 17 }, [3] = { 9, 17 }, [4] = { 9, 17 }, [5] = { 9, 17 }, [6] = { 9, 16 },
}
local days = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }

local function hours()
  local lines = {}
  for day = 1, 7 do
    if open[day] then
      table.insert(lines, string.format("%s %d:00 to %d:00", days[day], open[day][1], open[day][2]))
    end
  end
  local now = time.parts(nil, zone)
  local today = open[now.wday]
  local state = "We are closed now."
  if today and now.hour >= today[1] and now.hour < today[2] then
    state = "We are open now."
  end
  return state .. "\n" .. table.concat(lines, "\n")
end

wildcat.on("message", { prefix = prefix, group = false, kind = "text" }, function(msg)
  local word = msg.text:match("^" .. prefix .. "(%a+)%s*$")
  if not word then return end
  word = word:lower()
  if word == "hours" then
    msg:reply(hours())
  elseif answers[word] then
    msg:reply(answers[word])
  end
end)
