Console.WriteLine("clipcuda");
