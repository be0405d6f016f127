namespace ClipCuda;
